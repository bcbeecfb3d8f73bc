// SPDX-License-Identifier: Apache-2.0

package boards

import (
	"slices"
	"time"
)

// A peer is another board that has this room.
//
//	series   ... 7 8 │ . . │ 11 . 13 . │ .        seen: 8, last: 14
//	         delivered gap   held       known of
type peer struct {
	board  string
	series string // "": nothing is known of its lines
	seen   uint64 // all up to here was delivered, or is lost
	last   uint64 // it has said lines up to here
	held   []line // that came before what is in front of them, in order
	then   *end   // the series that follows when this one is even; nil: none is known
	past   []string
	met    bool // it is known where its lines begin
	base   bool // nothing was delivered since
	doubt  bool // what is missing may have been delivered before a crash

	phase phase
	due   time.Time
	tries int
	ask   ask // under way, in phase asked

	was    bool // it was there when it was looked at last
	known  bool // it has told who is in the room
	ended  bool // it has no such room any more
	off    bool // the broker says that it is not there
	names  []string
	news   bool      // shown may have to change
	shown  []string  // as Present was told
	counts bool      // in Reach
	lapse  time.Time // neither holds any more then, unless the board is there
	heard  time.Time

	live   bool      // it was heard in this connection, and not only of
	asked  time.Time // whether it is there
	checks int
	silent bool // it does not answer
}

// find returns the peer of a name, or nil.
func (r *Room) find(board string) *peer {
	for _, p := range r.peers {
		if p.board == board {
			return p
		}
	}
	return nil
}

// peer returns the peer of a name, a new one if there is none, or nil if there are too
// many. One that is not there makes room.
func (r *Room) peer(board string) *peer {
	if p := r.find(board); p != nil {
		return p
	}
	if board == r.o.Board || len(r.peers) >= r.o.Boards && !r.evict() {
		return nil
	}
	p := &peer{board: board, heard: r.now}
	r.peers = append(r.peers, p)
	r.crowded = false
	return p
}

// evict forgets the board that was not heard for the longest time, of those that are not
// there.
func (r *Room) evict() bool {
	oldest := -1
	for i, p := range r.peers {
		if !p.was && !p.counts && p.shown == nil && (oldest < 0 || p.heard.Before(r.peers[oldest].heard)) {
			oldest = i
		}
	}
	if oldest < 0 {
		return false
	}
	r.flush(r.peers[oldest])
	r.peers = slices.Delete(r.peers, oldest, oldest+1)
	return true
}

// crowd counts what comes from a board for which there is no room.
func (r *Room) crowd(board string) {
	r.counts.Crowded++
	if !r.crowded {
		r.crowded = true
		r.do(Crowded{board})
	}
}

// heardLine takes a line of another board.
func (r *Room) heardLine(from string, payload []byte) bool {
	var l line
	if !decode(payload, &l) {
		return false
	}
	l.Board = ""
	if from == r.o.Board {
		r.twin(l.Series)
		return true
	}
	p := r.peer(from)
	if p == nil {
		r.crowd(from)
		return true
	}
	r.sign(p)
	p.ended = false
	if !r.reaches(p, l.Series, l.Before) {
		r.counts.Doubles++
		return true
	}
	if p.series == l.Series {
		if !p.met {
			p.met, p.seen = true, l.Prev
		}
		p.last = max(p.last, l.Number)
	} else {
		p.then.Last = max(p.then.Last, l.Number)
	}
	r.hold(p, l)
	r.advance(p)
	return true
}

// old reports whether a series of the board is over.
func (p *peer) old(series string) bool { return slices.Contains(p.past, series) }

// reaches finds out what a series is to a board, and reports whether it is one that
// counts: that in force, or the one that follows. before is what the board says of the
// series before that: the end of it may be missing.
func (r *Room) reaches(p *peer, series string, before *end) bool {
	switch {
	case p.old(series):
		return false
	case p.series == "":
		r.move(p, series)
		return true
	case p.series == series || p.then != nil && p.then.Series == series:
		return true
	}
	if p.then == nil && before != nil && before.Series == p.series && before.Last > p.seen {
		p.last, p.then = max(p.last, before.Last), &end{Series: series}
		r.advance(p)
		return true
	}
	r.flush(p)
	if p.series != series { // or flush has come to it
		r.move(p, series)
	}
	return true
}

// move begins a series: at its first line, where what the room has shown ends, or, if it
// is the first one of this board that is heard of, where that will say.
func (r *Room) move(p *peer, series string) {
	p.met = p.series != ""
	if p.met {
		p.past = remember(p.past, p.series)
	}
	p.series, p.base, p.doubt = series, true, false
	p.seen, p.last = r.marks.of(p.board, series), 0
	if p.seen > 0 {
		p.met, p.base = true, false
	}
	if p.then != nil && p.then.Series == series {
		p.last = p.then.Last
	}
	p.then = nil
}

// hold keeps a line until what is before it is there. A line that does not fit is one
// that is missing: the board has it.
func (r *Room) hold(p *peer, l line) {
	i, there := slices.BinarySearchFunc(p.held, l, p.order)
	if there || l.Series == p.series && l.Number <= p.seen {
		r.counts.Doubles++
		return
	}
	p.held = slices.Insert(p.held, i, l)
	if len(p.held) > heldLines || r.heldBytes() > heldBytes {
		p.held = p.held[:len(p.held)-1]
	}
	if p.phase == parked && p.due.IsZero() {
		p.due = r.now.Add(parkTime)
	}
}

// order is that of lines: those of the series in force come first.
func (p *peer) order(a, b line) int {
	switch {
	case a.Series != b.Series && a.Series == p.series:
		return -1
	case a.Series != b.Series:
		return 1
	case a.Number < b.Number:
		return -1
	case a.Number > b.Number:
		return 1
	}
	return 0
}

func (r *Room) heldBytes() (n int) {
	for _, p := range r.peers {
		for i := range p.held {
			n += p.held[i].size()
		}
	}
	return n
}

// current returns how many of the lines that are held are of the series in force.
func (p *peer) current() int {
	n := 0
	for n < len(p.held) && p.held[n].Series == p.series {
		n++
	}
	return n
}

// wants returns up to where something is missing: seen, if nothing is.
func (p *peer) wants() uint64 {
	if p.current() > 0 {
		return p.held[0].Prev
	}
	return max(p.last, p.seen)
}

// advance delivers what is complete, and finds out whether something is missing.
func (r *Room) advance(p *peer) {
	if r.catch.holds() {
		return
	}
	for {
		r.release(p)
		switch upto := p.wants(); {
		case upto > p.seen && p.doubt:
			r.skip(p, upto, true)
		case upto > p.seen:
			r.fire(p, opened)
			if !p.was {
				r.fire(p, gone)
			}
			return
		case p.then != nil:
			r.move(p, p.then.Series)
		default:
			r.fire(p, closed)
			return
		}
	}
}

// release delivers the lines that are held as far as nothing is missing.
func (r *Room) release(p *peer) {
	n := 0
	for most := p.current(); n < most; n++ {
		l := &p.held[n]
		if l.Prev > p.seen {
			break
		}
		if l.Number > p.seen {
			r.accept(p, l)
		}
	}
	p.held = slices.Delete(p.held, 0, n)
}

// accept delivers a line.
func (r *Room) accept(p *peer, l *line) {
	p.seen, p.base = l.Number, false
	p.last = max(p.last, p.seen)
	r.deliver(p.board, l)
}

// skip gives up what is missing up to a number.
func (r *Room) skip(p *peer, upto uint64, doubt bool) {
	if upto > p.seen {
		r.lose(Lost{Board: p.board, Series: p.series, From: p.seen + 1, To: upto, Doubt: doubt})
		p.seen, p.base, p.doubt = upto, false, false
		p.last = max(p.last, upto)
	}
}

// flush gives up all that is missing, and delivers what is held.
func (r *Room) flush(p *peer) {
	for p.series != "" {
		r.release(p)
		if upto := p.wants(); upto > p.seen {
			r.skip(p, upto, p.doubt)
			continue
		}
		if p.then == nil {
			break
		}
		r.move(p, p.then.Series)
	}
	r.fire(p, closed)
}
