// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"testing"
	"time"
)

// TestTurnClass: each length is counted below its bound, and not below the one before.
func TestTurnClass(t *testing.T) {
	for i := range TurnBounds {
		bound := TurnBound(i)
		if got := turnClass(bound - 1); got != i {
			t.Errorf("%v is counted at %d, want %d", bound-1, got, i)
		}
		if got := turnClass(bound); got != i+1 {
			t.Errorf("%v is counted at %d, want %d", bound, got, i+1)
		}
	}
	for took, want := range map[time.Duration]int{-1: 0, 0: 0, time.Hour: TurnBounds} {
		if got := turnClass(took); got != want {
			t.Errorf("%v is counted at %d, want %d", took, got, want)
		}
	}
}

// TestLoopTurnTimes: a turn is counted from the end of a wait to the next look at the clock,
// and the time until an event comes counts as sleep.
func TestLoopTurnTimes(t *testing.T) {
	eachBackend(t, func(r *rig) {
		const works = 3 * time.Millisecond
		r.use(Config{})
		began := monotonic()
		due := func(then func()) {
			r.l.Schedule(Timer{Deadline: monotonic() + Time(time.Millisecond), Handler: timerFunc(func(*Loop, Timer) { then() })})
			if err := r.l.turn(true); err != nil {
				r.Fatal(err)
			}
		}
		for r.l.Stats().Asleep == 0 { // a busy machine may be late for one
			due(func() {})
		}
		for worked := false; !worked; {
			due(func() {
				for began := monotonic(); monotonic()-began < Time(works); {
				}
				worked = true
			})
		}
		r.turn() // ends the one that worked
		s := r.l.Stats()
		if s.Longest < works || s.Busy < s.Longest || s.Busy+s.Asleep > monotonic().Sub(began) {
			r.Errorf("busy %v, longest %v, asleep %v; one turn took %v", s.Busy, s.Longest, s.Asleep, works)
		}
		counted := uint64(0)
		for _, n := range s.Took {
			counted += n
		}
		if counted == 0 || counted > s.Turns {
			r.Errorf("%d turns are counted by length, of %d", counted, s.Turns)
		}
	})
}
