// SPDX-License-Identifier: Apache-2.0

package boards

import (
	"slices"
	"strings"
)

// own is what was said on this board:
//
//	feed   1  2  3  4  5  6  7  8        seen: 8
//	own    1     3           7           last: 7, whose prev is 3
//	kept         3           7           for boards that ask
//	                         ▲ unsent: what the broker was not given, since it was away
//
// What was missed here counts as said: last is then the last number that was missed, so
// that other boards find a gap, ask for it, and learn that nobody has these lines.
type own struct {
	series string
	past   []string // former series of this board
	seen   uint64   // the last number of the feed
	last   uint64   // the last one that may be of a line of our own
	said   int      // lines in this series
	before []end    // the series before, the oldest first

	kept   []line
	bytes  int
	unsent int // at the end of kept

	replayed uint64 // up to here, lines were said before Joined
	quiet    bool   // those are old: nothing was known at the first Joined
	loaded   bool   // from a file, until those have come
}

// early is how many lines tell of the series before: the first may be missing where the
// others come.
const early = 100

// joined begins to follow the daemon.
func (r *Room) joined(series string, last, missed uint64) {
	o := &r.own
	fresh := series != o.series
	o.quiet = o.quiet || o.series == ""
	if fresh {
		if o.loaded { // the process before may have had them shown in a room that is over
			r.forget()
		}
		if o.series != "" {
			o.before = append(slices.Clone(o.before), end{o.series, o.last})
			o.before = o.before[max(0, len(o.before)-mostBefore):]
			o.past = remember(o.past, o.series)
		}
		o.series, o.seen, o.last, o.said = series, 0, 0, 0
		r.marks = nil
		for _, d := range r.delivery.list { // it will show these
			r.marks.set(d.Board, d.series, d.number, 0)
		}
		if r.recent.life = 0; o.loaded && last > 0 {
			r.recent.replace(nil) // the daemon tells what it has
		}
		if last < uint64(r.o.History) {
			r.catchUp()
		}
		r.announce(0)
	}
	o.replayed = last
	if o.loaded && last >= uint64(r.o.History) { // the process before has looked since
		r.fireCatch(catchDue, r.catch.holds())
	}
	r.delivery.rejoined(fresh)
	if missed = min(missed, last-min(last, o.seen)); missed > 0 {
		r.missed(o.seen + missed)
	}
	r.replayed()
}

// replaying reports whether lines are to come that were said before Joined.
func (o *own) replaying() bool { return o.seen < o.replayed }

// replayed goes on once those lines have come. Whatever of a delivery was not among them
// did not arrive.
func (r *Room) replayed() {
	if o := &r.own; r.delivery.waits && !o.replaying() {
		o.loaded, o.quiet = false, false
		r.delivery.shown()
		r.catch.tried = nil
		r.fireCatch(connected, true)
		r.advanceAll()
	}
}

// missed is for what the daemon does not have any more: it was said or delivered before a
// crash, or while nobody followed.
func (r *Room) missed(upto uint64) {
	o := &r.own
	r.lack(upto, o.quiet)
	r.forget()
	if o.loaded || o.quiet {
		r.doubts = true
		for _, p := range r.peers {
			p.doubt = true
		}
	}
}

// forget gives up the lines that were given out, and of which nobody can tell whether they
// have landed.
func (r *Room) forget() {
	for _, d := range r.delivery.forget() {
		r.lose(Lost{Board: d.Board, Series: d.series, From: d.number, To: d.number, Doubt: true})
	}
}

// lack goes on behind messages that did not come here. If all that is known begins behind
// them, they are not lost.
func (r *Room) lack(upto uint64, old bool) {
	o := &r.own
	if !old {
		r.lose(Lost{Board: r.o.Board, Series: o.series, From: o.seen + 1, To: upto, Doubt: o.loaded})
	}
	o.seen, o.last = upto, upto
	r.announce(stateTime)
}

// line takes a message of the feed.
func (r *Room) line(number uint64, name, text, tag string) {
	o := &r.own
	if number <= o.seen || number > maxNumber || o.series == "" {
		return
	}
	old := number <= o.replayed && o.quiet
	known := old || number <= o.replayed && o.loaded // or said by state, to those who lack it
	if number > o.seen+1 {
		r.lack(number-1, old)
	}
	o.seen = number
	if strings.HasPrefix(tag, TagPrefix) {
		r.echoed(tag, name, text)
	} else {
		r.say(number, cut(name), text, known)
	}
	r.replayed()
}

// echoed learns where a board's lines are from one that has landed: after a crash the
// daemon knows more than the file.
func (r *Room) echoed(tag, name, text string) {
	board, series, number, ok := parseTag(tag)
	if !ok {
		return
	}
	if !r.delivery.landed(tag) && (r.own.quiet || r.own.loaded) {
		// What the board had said before is not known any more. The name is as it was shown
		// here, with the board where it clashed; each board adds that itself.
		name = strings.TrimSuffix(name, "@"+board)
		r.recent.add(board, line{Series: series, Number: number, Prev: number - 1, Name: cut(name), Text: text})
	}
	r.marks.set(board, series, number, 0)
	p := r.find(board)
	if p == nil || series != p.series || number <= p.seen {
		return
	}
	p.seen, p.met, p.base, p.doubt = number, true, false, false
	p.last = max(p.last, number)
	r.advance(p)
}

// say keeps a line of our own, and sends it if the broker is there.
func (r *Room) say(number uint64, name, text string, known bool) {
	o := &r.own
	l := line{Series: o.series, Number: number, Prev: o.last, Name: name, Text: text}
	if o.said < early {
		l.Before = o.before
	}
	o.said++
	o.last = number
	r.announce(stateTime)
	payload := encode(l.wire())
	if len(payload) > mostPayload {
		r.lose(Lost{Board: r.o.Board, Series: o.series, From: number, To: number})
		return
	}
	o.keep(l, max(leastKept, r.o.History))
	r.recent.add(r.o.Board, l)
	switch {
	case known:
	case r.up:
		r.send(kindLine, r.o.Board, payload, false)
	default:
		o.unsent = min(o.unsent+1, len(o.kept))
	}
}

// keep adds a line and drops what is over the bounds.
func (o *own) keep(l line, most int) {
	o.kept = append(o.kept, l)
	o.bytes += l.size()
	for len(o.kept) > most || o.bytes > keptBytes {
		o.bytes -= o.kept[0].size()
		o.kept[0] = line{}
		o.kept = o.kept[1:]
	}
	o.unsent = min(o.unsent, len(o.kept))
}

// connected tells the broker what was said while it was away. What was said before it was
// ever there stays here.
func (r *Room) connected() {
	o := &r.own
	if !r.met {
		o.unsent = 0
	}
	if r.doubted.IsZero() {
		r.doubted = r.now.Add(doubtTime)
	}
	r.up, r.met = true, true
	unsent := o.kept[len(o.kept)-o.unsent:]
	r.state.start = o.last
	if len(unsent) > 0 {
		r.state.start = 0
		if unsent[0].Series == o.series {
			r.state.start = unsent[0].Prev
		}
	}
	o.unsent = 0
	if r.ended {
		return
	}
	for _, l := range unsent {
		r.send(kindLine, r.o.Board, encode(l.wire()), false)
	}
	r.state.said = nil // have it said again later, whatever it was before
	r.sendState()
	r.returned()
}

// mine reports whether a series is or was one of this board.
func (o *own) mine(series string) bool { return series == o.series || slices.Contains(o.past, series) }

// remember adds a series to those that are over.
func remember(list []string, series string) []string {
	if slices.Contains(list, series) {
		return list
	}
	list = append(list, series)
	if len(list) > mostSeries {
		list = list[1:]
	}
	return list
}
