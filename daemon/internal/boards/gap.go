// SPDX-License-Identifier: Apache-2.0

package boards

import "time"

// fire is an event for the phase of a peer.
func (r *Room) fire(p *peer, t trigger) {
	before := p.phase
	var do act
	p.phase, do = p.phase.step(t)
	switch do {
	case rest:
		p.due, p.tries = time.Time{}, 0
	case wait:
		p.due, p.tries = r.now.Add(patience), 0
	case follow:
		p.due, p.tries = r.now.Add(pace), 0
	case request:
		r.request(p, before)
	case park:
		p.due = time.Time{}
		if len(p.held) > 0 {
			p.due = r.now.Add(parkTime)
		}
	case giveUp:
		p.due, p.tries = time.Time{}, 0
		r.skip(p, p.wants(), p.doubt)
		r.advance(p)
	}
}

// request asks the board for what is missing. If too many are asked already, the board's
// turn comes later.
func (r *Room) request(p *peer, before phase) {
	if before != asked && r.asking() > mostAsks {
		p.phase, p.due = before, r.now.Add(patience)
		return
	}
	p.tries++
	p.due = r.now.Add(answerTime)
	p.ask = ask{From: r.o.Board, Series: p.series, After: p.seen, Upto: p.wants()}
	r.askOf(p, p.ask)
}

func (r *Room) askOf(p *peer, a ask) {
	r.counts.Asks++
	r.send(kindAsk, p.board, encode(a), false)
}

// asking counts the peers that are asked for lines.
func (r *Room) asking() (n int) {
	for _, p := range r.peers {
		if p.phase == asked {
			n++
		}
	}
	return n
}

// tickPeer does what is due for a peer.
func (r *Room) tickPeer(p *peer) {
	if !r.due(p.due) {
		return
	}
	t := due
	if p.tries >= mostTries {
		t = spent
	}
	r.fire(p, t)
}

// heardAnswer takes what another board has sent because it was asked.
func (r *Room) heardAnswer(payload []byte) bool {
	var a answer
	if !decode(payload, &a) {
		return false
	}
	if a.Board != nil && a.From != r.o.Board {
		r.tells(a.From, a.Board, false, true)
	}
	p := r.find(a.From)
	if p == nil {
		return true
	}
	r.sign(p, true)
	switch {
	case a.History:
		r.caught(p, &a)
	case p.phase == asked && a.Series == p.ask.Series && a.Series == p.series && a.After == p.ask.After:
		r.fill(p, &a)
	}
	return true
}

// fill delivers what has come of the lines that were missing. What the answer is about and
// does not have, nobody has.
func (r *Room) fill(p *peer, a *answer) {
	upto, from := min(a.Upto, p.ask.Upto), p.seen
	if r.holds() {
		for _, l := range a.Lines {
			if l.Series == p.series {
				r.hold(p, l)
			}
		}
		return // or it will be asked again
	}
	for i := range a.Lines {
		l := &a.Lines[i]
		if l.Series != p.series || l.Number <= p.seen || l.Number > upto {
			continue
		}
		r.skip(p, l.Prev, false)
		r.accept(p, l)
	}
	r.skip(p, upto, false)
	if p.seen == from {
		return // it has said nothing, and will be asked again
	}
	r.advance(p)
	r.fire(p, answered)
}
