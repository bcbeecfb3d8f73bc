// SPDX-License-Identifier: Apache-2.0

package boards

import (
	"slices"
	"time"
)

// state is when this board says what is new of it. The number of the last line goes out a
// while after the line, so that a board that did not get it finds out. Lines and names in
// quick succession make one message:
//
//	line ─ 5 s ─► state        names ─► state ─ 2 s ─► the next one, at the earliest
type state struct {
	due   time.Time // zero: nothing is new
	after time.Time // the next one may go out
	start uint64    // the last line before this connection
}

// announce has the state said in a while.
func (r *Room) announce(in time.Duration) {
	at := r.now.Add(in)
	if at.Before(r.state.after) {
		at = r.state.after
	}
	if r.state.due.IsZero() || at.Before(r.state.due) {
		r.state.due = at
	}
}

// named takes the names of those who are in the room here.
func (r *Room) named(names []string) {
	list := make([]string, 0, min(len(names), mostNames))
	for _, n := range names {
		list = append(list, cut(n))
	}
	if !slices.Equal(list, r.names) {
		r.names = list
		r.announce(0)
	}
}

// tickState says it when it is time.
func (r *Room) tickState() {
	if r.up && !r.ended && r.due(r.state.due) {
		r.sendState()
	}
}

// sendState tells the others. What they do not know yet is whether there is a line at
// all, so it is said before the daemon is there, too: that ends with another series.
func (r *Room) sendState() {
	if r.own.series == "" {
		return // Joined will announce
	}
	b := board{Series: r.own.series, Last: r.own.last, Start: min(r.state.start, r.own.last), Before: r.own.before}
	size := 0
	for i, n := range r.names {
		if size += 2*len(n) + 3; i >= mostNames || size > mostPayload {
			b.More = len(r.names) - i
			break
		}
		b.Names = append(b.Names, n)
	}
	payload := encode(b)
	if len(payload) > maxPayload { // names full of characters that JSON spells in six
		b.Names, b.More = nil, len(r.names)
		payload = encode(b)
	}
	r.send(kindBoard, r.o.Board, payload, true)
	rest := stateRest + time.Duration(len(payload))*time.Second/(16<<10)
	r.state.due, r.state.after = time.Time{}, r.now.Add(rest)
}
