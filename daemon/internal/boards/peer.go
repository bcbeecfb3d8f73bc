// SPDX-License-Identifier: Apache-2.0

package boards

import (
	"cmp"
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
	route  []end  // the series that follow when this one is even
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
	p.doubt = r.doubtful()
	r.peers = append(r.peers, p)
	r.crowded = false
	return p
}

// doubtful reports whether a board that is heard of may be one that the process before
// knew.
func (r *Room) doubtful() bool {
	return r.doubts && (r.doubted.IsZero() || r.now.Before(r.doubted))
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
	r.sign(p, false)
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
		p.said(l.Series, l.Number)
	}
	r.hold(p, l)
	r.advance(p)
	return true
}

// old reports whether a series of the board is over.
func (p *peer) old(series string) bool { return slices.Contains(p.past, series) }

// reaches finds out what a series is to a board, and reports whether it is one that
// counts: that in force, or one that follows. before is what the board says of those
// before it: the end of them may be missing, or all of one.
func (r *Room) reaches(p *peer, series string, before []end) bool {
	switch {
	case p.old(series):
		return false
	case p.series == "":
		r.move(p, end{Series: series})
		p.passed(before)
		return true
	case p.series == series || p.follows(series) >= 0:
		return true
	}
	at := -1 // the latest of those that are known here
	for i, e := range before {
		p.said(e.Series, e.Last)
		if e.Series == p.series || p.old(e.Series) || p.follows(e.Series) >= 0 {
			at = i
		}
	}
	if at < 0 || len(p.route) > mostSeries {
		r.flush(p) // the board does not know it any more
		for _, e := range before {
			r.lose(Lost{Board: p.board, Series: e.Series, From: 1, To: e.Last, Doubt: true})
		}
		at = len(before) - 1
	}
	p.passed(before[:at+1])
	p.route = append(append(p.route, before[at+1:]...), end{Series: series})
	r.advance(p)
	return true
}

// passed notes that series are over that were not known.
func (p *peer) passed(list []end) {
	for _, e := range list {
		if e.Series != p.series && p.follows(e.Series) < 0 {
			p.past = remember(p.past, e.Series)
		}
	}
}

// follows returns which of the series that follow it is, or -1.
func (p *peer) follows(series string) int {
	return slices.IndexFunc(p.route, func(e end) bool { return e.Series == series })
}

// said notes how far a series goes, that in force or one that follows.
func (p *peer) said(series string, last uint64) {
	if series == p.series {
		p.last = max(p.last, last)
	}
	if i := p.follows(series); i >= 0 {
		p.route[i].Last = max(p.route[i].Last, last)
	}
}

// move begins a series: at its first line, where what the room has shown ends, or, if it
// is the first one of this board that is heard of, where that will say.
func (r *Room) move(p *peer, to end) {
	p.met = p.series != ""
	if p.met {
		p.past = remember(p.past, p.series)
	}
	p.series, p.base = to.Series, true
	m := r.marks.of(p.board, to.Series)
	if p.seen, p.last = 0, to.Last; m.Number > 0 {
		if p.met {
			r.skip(p, m.From, p.doubt)
		}
		p.met, p.base, p.seen = true, false, m.Number
	}
}

// next moves to the series that follows.
func (r *Room) next(p *peer) {
	to := p.route[0]
	p.route = p.route[1:]
	r.move(p, to)
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

// order is that of lines: by series, and by number.
func (p *peer) order(a, b line) int {
	if d := p.rank(a.Series) - p.rank(b.Series); d != 0 {
		return d
	}
	return cmp.Compare(a.Number, b.Number)
}

// rank orders series: that in force comes first.
func (p *peer) rank(series string) int {
	if series == p.series {
		return -1
	}
	return p.follows(series)
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

// holds reports whether lines have to wait: for the history, or for the daemon to show what
// it has, from which follows where all boards are.
func (r *Room) holds() bool { return r.catch.holds() || r.delivery.waits }

// advance delivers what is complete, and finds out whether something is missing.
func (r *Room) advance(p *peer) {
	if r.holds() {
		return
	}
	r.abandon(p)
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
		case len(p.route) > 0:
			r.next(p)
		default:
			r.fire(p, closed)
			return
		}
	}
}

// abandon gives up the series before one of which the room has shown the history: what is
// missing of them would come behind it.
func (r *Room) abandon(p *peer) {
	for later := r.marks.latest(p.board); p.follows(later) >= 0; {
		n := p.current()
		for i := range p.held[:n] {
			p.last = max(p.last, p.held[i].Number)
		}
		p.held = slices.Delete(p.held, 0, n)
		r.skip(p, p.last, p.doubt)
		r.next(p)
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
	p.seen, p.base, p.doubt = l.Number, false, false
	p.last = max(p.last, p.seen)
	if r.holds() { // a history that comes now must not bring it again
		r.marks.set(p.board, l.Series, l.Number, 0)
	}
	r.deliver(p.board, l)
}

// skip gives up what is missing up to a number. A doubt stays until a line comes: what a
// board says of itself may be older than what the process before has delivered.
func (r *Room) skip(p *peer, upto uint64, doubt bool) {
	if upto > p.seen {
		r.lose(Lost{Board: p.board, Series: p.series, From: p.seen + 1, To: upto, Doubt: doubt})
		p.seen, p.base = upto, false
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
		if len(p.route) == 0 {
			break
		}
		r.next(p)
	}
	r.fire(p, closed)
}
