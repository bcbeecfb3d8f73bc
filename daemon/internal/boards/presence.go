// SPDX-License-Identifier: Apache-2.0

package boards

import (
	"slices"
	"time"
)

// Who is where. A board is there if the broker says that it is online, and if it has not
// ended the room. Three things the broker cannot be trusted with:
//
//   - While there is no connection, nobody is there. That is told only after a while, so
//     that a short break does not have everybody leave and come.
//   - A board that was online when a broker died, and not when it came back, stays online
//     for ever. So a board that is only said to be there is asked, once in a connection.
//   - A broker drops messages when a queue is full. So a board that is online, and has not
//     said whether it has this room, is asked, too.

// there reports whether a board can be reached.
func (r *Room) there(p *peer) bool {
	return r.up && r.online[p.board] && !p.ended && !p.silent
}

// sign is one of life: a message that the broker has not kept. It may be older than an
// offline, which may be older than an online that the broker has dropped; then the board is
// asked. Its answer is a proof.
func (r *Room) sign(p *peer, proof bool) {
	p.live, p.silent, p.checks, p.heard = true, false, 0, r.now
	switch {
	case r.online[p.board]:
	case p.off && !proof:
		r.stranger(p.board)
	case len(r.online) < mostOnline:
		r.online[p.board], p.off = true, false
	}
}

// heardOnline takes what the broker says of a board, of whatever rooms.
func (r *Room) heardOnline(board, text string, retained bool) bool {
	if board == r.o.Board {
		return true
	}
	p := r.find(board)
	switch {
	case text == Online && (r.online[board] || len(r.online) < mostOnline):
		r.online[board] = true
		if p == nil {
			r.stranger(board)
		} else if !retained {
			r.sign(p, true)
		}
	case text == Online, text == Offline, text == "":
		delete(r.online, board)
	default:
		return false
	}
	if p != nil {
		p.off = text != Online
	}
	return true
}

// heardBoard takes what a board says of itself.
func (r *Room) heardBoard(from string, payload []byte, retained bool) bool {
	if len(payload) == 0 {
		if p := r.find(from); p != nil {
			p.ended, p.known, p.names = true, false, nil
		}
		return true
	}
	var b board
	if !decode(payload, &b) {
		return false
	}
	if from == r.o.Board {
		if !retained {
			r.twin(b.Series)
		}
		return true
	}
	r.tells(from, &b, retained, false)
	return true
}

// tells is what another board says of itself.
func (r *Room) tells(from string, b *board, retained, proof bool) {
	p := r.peer(from)
	if p == nil {
		r.crowd(from)
		return
	}
	if !retained {
		r.sign(p, proof)
	}
	if !r.reaches(p, b.Series, b.Before) {
		return // a board of the same name, or what it was before
	}
	p.ended, p.known, p.news = false, true, true
	p.names = nameable(b.Names)
	r.reached(p, b, retained)
	r.advance(p)
}

// reached notes how far the lines of a board go. Of one that is new, what was said before
// it came is not asked for.
func (r *Room) reached(p *peer, b *board, retained bool) {
	if p.series != b.Series {
		p.said(b.Series, b.Last)
		return
	}
	if !p.met {
		p.met, p.seen = true, b.Last
		if !retained {
			p.seen = b.Start
		}
	}
	p.last = max(p.last, b.Last)
}

// nameable bounds names of strangers.
func nameable(names []string) []string {
	list := make([]string, 0, min(len(names), mostNames))
	for _, n := range names {
		if n != "" && len(list) < mostNames {
			list = append(list, cut(n))
		}
	}
	return list
}

// disconnected is the end of a connection to the broker.
func (r *Room) disconnected() {
	if !r.up {
		return
	}
	r.up, r.away = false, r.now.Add(lapseTime)
	clear(r.online)
	r.strangers = nil
	r.fireCatch(cutOff, true)
}

// returned is the begin of one. Who was there before has some time to be heard of.
func (r *Room) returned() {
	r.away, r.check = time.Time{}, r.now.Add(checkTime)
	for _, p := range r.peers {
		p.live, p.silent, p.checks, p.asked = false, false, 0, time.Time{}
		if p.counts {
			p.lapse = r.now.Add(lapseTime)
		}
	}
	r.catch.tried = nil
	r.fireCatch(connected, true)
}

// settle has everything follow from who is there.
func (r *Room) settle() {
	for _, p := range r.peers {
		if is := r.there(p); is != p.was {
			p.was, p.news = is, true
			if is {
				r.fire(p, there)
			} else {
				r.fire(p, gone)
			}
		}
		r.show(p)
	}
	r.settleCatch()
	r.tellReach()
}

// show tells who is in the room on a board, if that has changed.
func (r *Room) show(p *peer) {
	switch {
	case p.was:
		p.counts, p.lapse = true, time.Time{}
		if p.known && p.news && !slices.Equal(p.names, p.shown) {
			p.shown = p.names
			r.do(Present{p.board, slices.Clone(p.names)})
		}
		p.news = false
	case r.up && (p.off || p.ended || p.silent):
		r.hide(p)
	}
}

// hide takes back who is on a board.
func (r *Room) hide(p *peer) {
	p.counts, p.lapse = false, time.Time{}
	if len(p.shown) > 0 {
		r.do(Present{Board: p.board})
	}
	p.shown = nil
}

// tellReach says how many boards are there, if that has changed.
func (r *Room) tellReach() {
	now := Reach{Up: r.up || !r.away.IsZero()}
	for _, p := range r.peers {
		if p.counts {
			now.Boards++
		}
	}
	if now != r.reach {
		r.reach = now
		r.do(now)
	}
}

// tickPresence takes back what is not true any more, and checks what the broker says.
func (r *Room) tickPresence() {
	if r.due(r.away) {
		r.away = time.Time{}
		for _, p := range r.peers { // Reach says it
			p.counts, p.shown, p.lapse = false, nil, time.Time{}
		}
	}
	for _, p := range r.peers {
		if r.due(p.lapse) {
			r.hide(p)
		}
	}
	if !r.up || !r.due(r.checkDue()) {
		return
	}
	if len(r.strangers) > 0 && r.due(r.strange) {
		r.checkStranger()
		return
	}
	for _, p := range r.peers {
		if r.due(r.checkOf(p)) {
			r.checkOne(p)
			return
		}
	}
}

// checkOne asks a board whether it is there, or has waited long enough for the answer.
func (r *Room) checkOne(p *peer) {
	if p.checks++; p.checks > 2 {
		p.silent = true
		return
	}
	p.asked, r.check = r.now, r.now.Add(checkPace)
	r.askOf(p, ask{From: r.o.Board})
}

// stranger notes a board of which it is not known whether it is there, or has this room.
func (r *Room) stranger(board string) {
	if len(r.strangers) >= mostStrangers || slices.Contains(r.strangers, board) {
		return
	}
	if len(r.strangers) == 0 {
		r.strange = r.now.Add(checkTime)
	}
	r.strangers = append(r.strangers, board)
}

// checkStranger asks the first one of which that is still not known.
func (r *Room) checkStranger() {
	r.strange = r.now.Add(checkPace)
	for len(r.strangers) > 0 {
		board := r.strangers[0]
		r.strangers = r.strangers[1:]
		if !r.online[board] || r.find(board) == nil {
			r.counts.Asks++
			r.send(kindAsk, board, encode(ask{From: r.o.Board}), false)
			return
		}
	}
}

// checkOf returns when a board is to be checked; zero: never.
func (r *Room) checkOf(p *peer) (at time.Time) {
	if !p.was || p.live {
		return at
	}
	at = r.check
	if again := p.asked.Add(answerTime); !p.asked.IsZero() && again.After(at) {
		at = again
	}
	return at
}

// checkDue returns when the first one is.
func (r *Room) checkDue() (at time.Time) {
	if len(r.strangers) > 0 {
		at = r.strange
	}
	for _, p := range r.peers {
		if t := r.checkOf(p); !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	return at
}

// twin tells of another machine with this board's name.
func (r *Room) twin(series string) {
	if r.own.series == "" || r.own.mine(series) || slices.Contains(r.twins, series) {
		return
	}
	r.twins = remember(r.twins, series)
	r.do(Twin{series})
}
