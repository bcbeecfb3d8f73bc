// SPDX-License-Identifier: Apache-2.0

package boards

import "slices"

// check is called when all is healed.
func (w *simWorld) check() {
	for _, b := range w.boards {
		b.checkLines()
		b.checkOwed()
		b.checkPresence()
		b.checkBounds()
	}
	w.checkMessages()
}

// checkLines: each line at most once in a life of the room, and in its board's order.
func (b *simBoard) checkLines() {
	for i, life := range append(b.lives, b.life) {
		last := map[*simBoard]*simSaid{}
		for _, s := range life {
			if l := last[s.board]; l != nil && (s.begun < l.begun || s.begun == l.begun && s.number <= l.number) {
				b.w.failf("%s, life %d: %s %s/%d behind %s/%d", b.name, i, s.board.name, s.series, s.number, l.series, l.number)
			}
			last[s.board] = s
		}
	}
}

// checkOwed: a line that was owed was shown, or is lost and was said to be.
func (b *simBoard) checkOwed() {
	for _, s := range b.w.said {
		switch {
		case !b.owed[s] || b.shown[s]:
		case s.waived, s.board.begun-s.begun > mostBefore: // boards tell of no more series
			b.w.sums.Waived++
		case !b.isLost(s):
			b.w.failf("%s has neither shown nor lost %s %s/%d", b.name, s.board.name, s.series, s.number)
		}
	}
	if b.w.mild && len(b.lost) > 0 {
		b.w.failf("%s has lost lines without a reason: %+v", b.name, b.lost)
	}
}

func (b *simBoard) isLost(s *simSaid) bool {
	return slices.ContainsFunc(b.lost, func(l Lost) bool {
		return l.Board == s.board.name && l.Series == s.series && l.From <= s.number && s.number <= l.To
	})
}

// checkPresence: everybody knows who is where.
func (b *simBoard) checkPresence() {
	if want := (Reach{true, len(b.w.boards) - 1}); b.reach != want {
		b.w.failf("%s: %+v, want %+v", b.name, b.reach, want)
	}
	for _, o := range b.w.boards {
		if o != b && !slices.Equal(b.present[o.name], o.names) {
			b.w.failf("%s: on %s is %q, not %q", b.name, o.name, o.names, b.present[o.name])
		}
	}
	if n := len(b.room.delivery.list); n > 0 {
		b.w.failf("%s: %d lines wait for the daemon", b.name, n)
	}
}

// checkBounds: nothing is left over.
func (b *simBoard) checkBounds() {
	for _, p := range b.room.peers {
		if len(p.held) > 0 || p.phase != even {
			b.w.failf("%s: %s is %v, with %d lines held", b.name, p.board, p.phase, len(p.held))
		}
	}
	if b.room.catch.holds() {
		b.w.failf("%s still looks for the history", b.name)
	}
}

// checkMessages: no storm. A line is sent once or, after a break, twice. A board that
// comes says so, and asks whom it misses something of.
func (w *simWorld) checkMessages() {
	n := len(w.boards)
	events := w.sums.Ups + w.sums.Dropped + w.sums.Crashes + w.sums.Restarts + 10
	if most := 2*w.sums.Said + w.steps + 8*n*events; w.sums.Messages > most {
		w.failf("%d messages, more than %d", w.sums.Messages, most)
	}
}
