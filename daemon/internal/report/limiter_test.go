// SPDX-License-Identifier: Apache-2.0

package report

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

func newFakeClock() *fakeClock { return &fakeClock{at: 1} }

func (c *fakeClock) Now() evloop.Time { return c.at }

func (c *fakeClock) Schedule(t evloop.Timer) (none evloop.TimerID) {
	c.timers = append(c.timers, t)
	return none
}

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

// A heldBack counts what a limiter reports.
type heldBack map[limitKey]int

func (h heldBack) add(k limitKey, n int) { h[k] += n }

// events has so many events of a key ask to be logged.
func (l *limiter) events(k limitKey, n int) (passed int) {
	for range n {
		if l.allow(k) {
			passed++
		}
	}
	return passed
}

func limitKeyOf(service, name string, burst int) limitKey {
	return limitKey{service, event{name, slog.LevelWarn, burst}}
}

func TestLimiter(t *testing.T) {
	clock, held := newFakeClock(), heldBack{}
	l := newLimiter(clock, held.add)
	flood, other := limitKeyOf("lobby", "refused acl", usualBurst), limitKeyOf("lobby", "refused limit", usualBurst)

	if got := l.events(flood, 1000); got != usualBurst {
		t.Errorf("%d of a flood passed, want %d", got, usualBurst)
	}
	if got := l.events(other, 1); got != 1 {
		t.Error("another kind of event was held back with the flood")
	}
	if len(clock.timers) != 1 {
		t.Errorf("%d timers armed, want the one of the flood", len(clock.timers))
	}
	clock.advance(limitWindow)
	if got, want := held[flood], 1000-usualBurst; got != want {
		t.Errorf("%d reported as held back, want %d", got, want)
	}
	if len(clock.timers) != 0 || held[other] != 0 {
		t.Errorf("after the window: %d timers, %d reported for a key that held nothing", len(clock.timers), held[other])
	}
	if got := l.events(flood, 3); got != 3 {
		t.Errorf("%d of 3 passed in the next window", got)
	}
	// A window without anything held back ends without a timer.
	clock.advance(limitWindow)
	if got := l.events(flood, usualBurst+1); got != usualBurst {
		t.Errorf("%d passed in a new window, want %d", got, usualBurst)
	}
	l.flushAll()
	if got, want := held[flood], 1000-usualBurst+1; got != want {
		t.Errorf("%d reported after flush, want %d", got, want)
	}
}

// TestLimiterBursts: each event has a burst of its own, and each service a window
// of its own.
func TestLimiterBursts(t *testing.T) {
	l := newLimiter(newFakeClock(), heldBack{}.add)
	for _, tt := range []struct {
		key  limitKey
		want int
	}{
		{limitKeyOf("a", "wrote", 200), 200},
		{limitKeyOf("b", "wrote", 200), 200},
		{limitKeyOf("a", "refused", 10), 10},
		{limitKeyOf("a", "wrote", 200), 0},
	} {
		if got := l.events(tt.key, 300); got != tt.want {
			t.Errorf("%v: %d passed, want %d", tt.key, got, tt.want)
		}
	}
}

// TestLimiterFlush: what is held back can be told early, once, and that does not
// let more pass: a client could have it happen again and again.
func TestLimiterFlush(t *testing.T) {
	clock, held := newFakeClock(), heldBack{}
	l := newLimiter(clock, held.add)
	key := limitKeyOf("feed", "input received", usualBurst)
	l.flush(key) // nothing yet
	l.events(key, usualBurst+5)
	l.flush(key)
	l.flush(key)
	if held[key] != 5 {
		t.Errorf("%d reported, want 5", held[key])
	}
	if got := l.events(key, 7); got != 0 {
		t.Errorf("%d passed after a flush in the same window", got)
	}
	if len(clock.timers) != 1 {
		t.Errorf("%d timers, want one for each window", len(clock.timers))
	}
	clock.advance(limitWindow)
	if held[key] != 12 {
		t.Errorf("%d reported at the end of the window, want 12", held[key])
	}
	if got := l.events(key, 1); got != 1 {
		t.Error("nothing passes in the next window")
	}
}
