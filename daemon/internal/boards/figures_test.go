// SPDX-License-Identifier: Apache-2.0

package boards

import (
	"fmt"
	"math"
	"testing"
	"time"
)

// A load is what so many boards ask of a broker.
type load struct{ in, out, bytes float64 } // messages published and passed on, bytes of the latter

func (l load) String() string {
	return fmt.Sprintf("%.0f in, %.0f out, %.0f bytes out", l.in, l.out, l.bytes)
}

// TestFigures measures what a room asks of one broker, with a network without faults, and
// holds the shape: a line costs one message in and one out for each other board, and a
// reconnect of all boards costs three in for each, and out a number for each pair of boards.
// So what 1,000 boards would ask follows from what 100 do. The manual has these numbers.
func TestFigures(t *testing.T) {
	var lines, returns []load
	counts := []int{10, 30, 100}
	if testing.Short() {
		t.Skip("a minute under the race detector, which finds nothing in one goroutine")
	}
	for _, n := range counts {
		w := newSimWorld(1)
		w.plain, w.mild, w.boards, w.broker.sessions, w.broker.bound = true, true, nil, nil, math.MaxInt
		for range n {
			w.add()
		}
		w.comeBackAll()
		w.rest()
		lines = append(lines, w.measure(func() {
			w.boards[0].say()
			w.settle(1000)
		}))
		w.rest()
		returns = append(returns, w.measure(func() {
			w.broker.kill(true)
			w.comeBackAll()
			w.rest()
		}))
		if w.err != nil {
			t.Fatal(w.err)
		}
		t.Logf("%d boards: a line %v; all reconnect %v", n, lines[len(lines)-1], returns[len(returns)-1])
	}
	for i, n := range counts {
		boards, pairs := float64(n), float64(n*(n-1))
		if l := lines[i]; l.in != 1 || l.out != boards-1 {
			t.Errorf("%d boards: a line costs %v", n, l)
		}
		if l := returns[i]; l.in != 3*boards || l.out != returns[0].out/90*pairs {
			t.Errorf("%d boards: a reconnect of all costs %v", n, l)
		}
	}
	// Of what each pair of boards costs, two messages say that a board is online: these go
	// to all boards of the broker, and the three others to those in the same room.
	l, r := lines[2], returns[2]
	const all, each, inRoom = 1000 * 999, 5, 1000 * (DefaultBoards - 1)
	size := r.bytes / r.out
	t.Logf("1000 boards, one room: a line %v; all reconnect %v",
		load{1, 999, l.bytes / 99 * 999}, load{3000, each * all, each * all * size})
	t.Logf("1000 boards, rooms of %d: a line %v; all reconnect %v", DefaultBoards,
		load{1, DefaultBoards - 1, l.bytes / 99 * (DefaultBoards - 1)},
		load{3000, 2*all + 3*inRoom, (2*all + 3*inRoom) * size})
}

// rest waits until nothing is to be said any more.
func (w *simWorld) rest() {
	for range 200 {
		w.settle(1000)
		w.pass(time.Second)
	}
}

func (w *simWorld) measure(what func()) load {
	before := w.sums
	what()
	s := w.sums
	return load{float64(s.Messages - before.Messages), float64(s.Passed - before.Passed), float64(s.Bytes - before.Bytes)}
}
