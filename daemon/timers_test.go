// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"testing"
	"time"

	"penstock/evloop"
)

// TestTimers: a timer that is armed is not armed again, one of another kind is,
// and one that was disarmed or has expired can be.
func TestTimers(t *testing.T) {
	loop, err := evloop.New(evloop.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer loop.Close()
	d := &Daemon{loop: loop}
	for i, tt := range []struct {
		do   func()
		want int // timers of the loop
	}{
		{func() { d.arm(timerStatus, time.Hour) }, 1},
		{func() { d.arm(timerStatus, time.Minute) }, 1},
		{func() { d.arm(timerFlush, time.Hour) }, 2},
		{func() { d.disarm(timerStatus) }, 1},
		{func() { d.disarm(timerStatus) }, 1},
		{func() { d.arm(timerStatus, time.Hour) }, 2},
		{func() { // as the loop does it: the timer is gone by then
			loop.Cancel(d.timers[timerFlush])
			d.Expired(loop, evloop.Timer{Kind: int(timerFlush)})
			d.arm(timerFlush, time.Hour)
		}, 2},
	} {
		if tt.do(); loop.Stats().Timers != tt.want {
			t.Errorf("step %d: %d timers, want %d", i, loop.Stats().Timers, tt.want)
		}
	}
}
