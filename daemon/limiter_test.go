// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"log/slog"
	"testing"
	"time"

	"penstock/evloop"
)

// fakeClock stands in for the loop: time moves when told, timers fire then.
type fakeClock struct {
	at     evloop.Time
	timers []evloop.Timer
}

func (c *fakeClock) now() evloop.Time        { return c.at }
func (c *fakeClock) schedule(t evloop.Timer) { c.timers = append(c.timers, t) }
func (c *fakeClock) advance(d time.Duration) {
	c.at = c.at.Add(d)
	due := c.timers
	c.timers = nil
	for _, t := range due {
		if t.Deadline > c.at {
			c.timers = append(c.timers, t)
			continue
		}
		t.Handler.Expired(nil, t)
	}
}

func TestLimiter(t *testing.T) {
	clock := &fakeClock{at: 1}
	held := map[limitKey]int{}
	l := &limiter{
		now: clock.now, schedule: clock.schedule, index: map[limitKey]int{},
		report: func(k limitKey, n int) { held[k] += n },
	}
	flood, other := limitKey{"lobby", "refused acl", slog.LevelWarn}, limitKey{"lobby", "refused limit", slog.LevelWarn}
	count := func(k limitKey, events int) (passed int) {
		for range events {
			if l.allow(k) {
				passed++
			}
		}
		return passed
	}

	if got := count(flood, 1000); got != limitBurst {
		t.Errorf("%d of a flood passed, want %d", got, limitBurst)
	}
	if got := count(other, 1); got != 1 {
		t.Error("another kind of event was held back with the flood")
	}
	if len(clock.timers) != 1 {
		t.Errorf("%d timers armed, want the one of the flood", len(clock.timers))
	}
	clock.advance(limitWindow)
	if got, want := held[flood], 1000-limitBurst; got != want {
		t.Errorf("%d reported as held back, want %d", got, want)
	}
	if len(clock.timers) != 0 || held[other] != 0 {
		t.Errorf("after the window: %d timers, %d reported for a key that held nothing", len(clock.timers), held[other])
	}
	if got := count(flood, 3); got != 3 {
		t.Errorf("%d of 3 passed in the next window", got)
	}
	// A window without anything held back ends without a timer.
	clock.advance(limitWindow)
	if got := count(flood, limitBurst+1); got != limitBurst {
		t.Errorf("%d passed in a new window, want %d", got, limitBurst)
	}
	l.flush()
	if got, want := held[flood], 1000-limitBurst+1; got != want {
		t.Errorf("%d reported after flush, want %d", got, want)
	}
}
