// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"math"
	"testing"
	"time"
)

func TestMillis(t *testing.T) {
	tests := []struct {
		name string
		in   time.Duration
		want int
	}{
		{"for ever", -1, -1},
		{"do not wait", 0, 0},
		{"rounds up, not down to a spin", 1, 1},
		{"exact", 5 * time.Millisecond, 5},
		{"just above", 5*time.Millisecond + 1, 6},
		{"the most that epoll_wait takes", math.MaxInt32 * time.Millisecond, math.MaxInt32},
		{"above that", math.MaxInt64, math.MaxInt32},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := millis(tt.in); got != tt.want {
				t.Errorf("millis(%v) = %d, want %d", tt.in, got, tt.want)
			}
		})
	}
}

// A Time is the kernel's CLOCK_MONOTONIC, so that another process can use it.
func TestTimeIsMonotonicClock(t *testing.T) {
	before := kernelTime()
	got := monotonic()
	after := kernelTime()
	const slack = Time(time.Millisecond) // the offset is measured once, at start
	if got < before-slack || got > after+slack {
		t.Errorf("monotonic() = %d, want it within %d and %d", got, before, after)
	}
}

// A process that loses the processor while it compares the clocks, at its start on
// a busy board, does not have them wrong for the rest of its life.
func TestClockDistanceSurvivesAPause(t *testing.T) {
	const ahead = 1000
	for paused := range 30 { // the reading that the pause comes before
		now, readings := Time(0), 0
		read := func() Time {
			if now++; readings == paused {
				now += Time(time.Second)
			}
			readings++
			return now
		}
		got := clockDistance(read, func() Time { return read() + ahead })
		if got < ahead-1 || got > ahead+1 {
			t.Errorf("paused before reading %d: %d, want %d", paused, got, ahead)
		}
	}
}

func TestTimeAddSaturates(t *testing.T) {
	now := monotonic()
	tests := []struct {
		d    time.Duration
		want Time
	}{
		{0, now},
		{-time.Second, now - Time(time.Second)},
		{time.Second, now + Time(time.Second)},
		{math.MaxInt64 - time.Duration(now), math.MaxInt64},
		{math.MaxInt64, math.MaxInt64},
	}
	for _, tt := range tests {
		if got := now.Add(tt.d); got != tt.want {
			t.Errorf("%d.Add(%d) = %d, want %d", now, tt.d, got, tt.want)
		}
	}
}
