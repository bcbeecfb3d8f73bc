// SPDX-License-Identifier: Apache-2.0

package boards

import (
	"bytes"
	"slices"
	"time"
)

// state is when this board says what is new of it. The number of the last line goes out a
// while after the line, so that a board that did not get it finds out. Lines and names in
// quick succession make one message:
//
//	line ─ 5 s ─► state        names ─► state ─ 2 s ─► the next one, at the earliest
//
// It is said again after a minute, once: the broker may have dropped it for somebody whose
// queue was full.
type state struct {
	due   time.Time // zero: nothing is new
	after time.Time // the next one may go out
	said  []byte    // the last one
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

// sendState tells the others.
func (r *Room) sendState() {
	if r.own.series == "" {
		return // Joined will announce
	}
	payload := encode(r.self())
	r.send(kindBoard, r.o.Board, payload, true)
	r.state.due = time.Time{}
	if !bytes.Equal(payload, r.state.said) {
		r.state.due, r.state.said = r.now.Add(againTime), payload
	}
	rest := stateRest + time.Duration(len(payload))*time.Second/(16<<10)
	r.state.after = r.now.Add(rest)
}

// self is what this board says of itself, with as many names as fit.
func (r *Room) self() *board {
	b := &board{Series: r.own.series, Last: r.own.last, Start: min(r.state.start, r.own.last), Before: r.own.before}
	size := 0
	for i, n := range r.names {
		if size += len(encode(n)) + 1; i >= mostNames || size > mostPayload {
			b.More = len(r.names) - i
			break
		}
		b.Names = append(b.Names, n)
	}
	return b
}
