// SPDX-License-Identifier: Apache-2.0

package boards

import (
	"slices"
	"time"
)

// Who is where. A board is there if the broker says that it is online, and if it has not
// ended the room. Two things the broker cannot be trusted with:
//
//   - While there is no connection, nobody is there. That is told only after a while, so
//     that a short break does not have everybody leave and come.
//   - A board that was online when a broker died, and not when it came back, stays online
//     for ever. So a board that is only said to be there is asked, once in a connection.

// there reports whether a board can be reached.
func (r *Room) there(p *peer) bool {
	return r.up && r.online[p.board] && !p.ended && !p.silent
}

// sign is one of life.
func (r *Room) sign(p *peer) {
	p.live, p.silent, p.checks, p.heard = true, false, 0, r.now
}

// heardOnline takes what the broker says of a board, of whatever rooms.
func (r *Room) heardOnline(board, text string, retained bool) bool {
	if board == r.o.Board {
		return true
	}
	p := r.find(board)
	switch {
	case text == Online && len(r.online) < mostOnline:
		r.online[board] = true
		if p != nil && !retained {
			r.sign(p)
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
	p := r.peer(from)
	if p == nil {
		r.crowd(from)
		return true
	}
	if !retained {
		r.sign(p)
	}
	if !r.reaches(p, b.Series, b.Before) {
		return true // a board of the same name, or what it was before
	}
	p.ended, p.known, p.news = false, true, true
	p.names = nameable(b.Names)
	r.reached(p, &b, retained)
	r.advance(p)
	return true
}

// reached notes how far the lines of a board go. Of one that is new, what was said before
// it came is not asked for.
func (r *Room) reached(p *peer, b *board, retained bool) {
	if p.series != b.Series {
		p.then.Last = max(p.then.Last, b.Last)
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
	if !r.due(r.checkDue()) {
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
