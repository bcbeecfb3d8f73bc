// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"math/bits"
	"time"
)

// How long turns take is counted without a look at the clock of its own. A turn begins
// when a wait ends, where the clock is read anyway. It ends where the clock is read next:
// before the loop sleeps, or, if it does not sleep, when it has asked the kernel for new
// events.
//
//	wait ──► turn ──► patience ──► wait (sleeps) ──► turn ──► wait (does not) ──► turn
//	     awoke       turned, now            Asleep, awoke              turned, awoke
//
// What a back end does inside of the wait, such as a ring that sends, counts as sleep.

// TurnTimes says how long turns took, those of Run and in all since New.
type TurnTimes struct {
	Busy    time.Duration // in turns
	Asleep  time.Duration // in waits that may sleep
	Longest time.Duration // turn
	// Took counts turns by length: those of less than TurnBound(i), and not of less than
	// the one before. The last one counts all that are longer.
	Took [TurnBounds + 1]uint64
}

// TurnBounds is how many bounds there are: 64 µs, 256 µs and so on up to 4.2 s.
const TurnBounds = 9

// TurnBound returns a bound, 0 to TurnBounds-1.
func TurnBound(i int) time.Duration { return 64 * time.Microsecond << (2 * i) }

// turned counts the turn that began at awoke and ends now.
func (l *Loop) turned() {
	if l.awoke == 0 {
		return
	}
	l.stats.add(l.now.Sub(l.awoke))
	l.awoke = 0
}

// add counts a turn.
func (t *TurnTimes) add(took time.Duration) {
	t.Busy += took
	t.Longest = max(t.Longest, took)
	t.Took[turnClass(took)]++
}

// turnClass returns the index in Took.
func turnClass(took time.Duration) int {
	return min((bits.Len64(uint64(max(took, 0)/time.Microsecond)>>6)+1)/2, TurnBounds)
}
