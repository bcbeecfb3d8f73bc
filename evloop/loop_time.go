// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// A Time is a moment on CLOCK_MONOTONIC, in nanoseconds (clock_gettime(2)). It
// stands still while the machine is suspended and never jumps when NTP sets a
// board without a real-time clock. Zero means "no moment". A Time may be handed
// to another process of the same boot: all processes share the clock.
type Time int64

// Add returns the moment d after t, or the last one there is: a timeout of the
// longest Duration means never, and must not wrap to the distant past.
func (t Time) Add(d time.Duration) Time {
	if sum := t + Time(d); d <= 0 || sum > t {
		return sum
	}
	return math.MaxInt64
}

// Sub returns how long t is after u.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// The runtime's own monotonic clock is CLOCK_MONOTONIC read through the vDSO;
// x/sys would enter the kernel for it. So the loop asks the kernel at the start
// for the distance between the two and reads the cheap one from then on.
var (
	clockBase   = time.Now()
	clockOffset = clockDistance(func() Time { return Time(time.Since(clockBase)) }, kernelTime)
)

// clockDistance returns how far kernel is ahead of cheap. The process may lose the
// processor between two readings, so the try counts that took the least time.
func clockDistance(cheap, kernel func() Time) (distance Time) {
	for try, least := 0, Time(math.MaxInt64); try < 10; try++ {
		before := cheap()
		t := kernel()
		if took := cheap() - before; took < least {
			least, distance = took, t-before-took/2
		}
	}
	return distance
}

// kernelTime reads CLOCK_MONOTONIC by a system call.
func kernelTime() Time {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0 // impossible for this clock; the package then counts from its own start
	}
	return Time(ts.Nano())
}

// monotonic returns the present moment.
func monotonic() Time { return clockOffset + Time(time.Since(clockBase)) }

// millis converts d to the milliseconds of epoll_wait(2): negative waits for
// ever, and every fraction is rounded up, because a timeout rounded down to
// zero would spin until the deadline has really come.
func millis(d time.Duration) int {
	switch {
	case d < 0:
		return -1
	case d > math.MaxInt32*time.Millisecond:
		return math.MaxInt32
	}
	return int((d + time.Millisecond - 1) / time.Millisecond)
}

// patience returns how long the loop may sleep: until its next deadline.
func (l *Loop) patience() Time {
	l.readClock(0)
	at, ok := l.nextDeadline()
	if !ok {
		return -1
	}
	return max(0, at-l.now)
}

// readClock reads the time. slept is how long the loop meant to sleep; negative
// means for ever. Any other time since the last reading was the loop's own
// delay, of which at most lateAfter counts on the clock of the connections.
func (l *Loop) readClock(slept Time) {
	t := l.sys.now()
	passed := t - l.now
	l.now = t
	if late := passed - slept - lateAfter; slept >= 0 && late > 0 {
		passed -= late
		l.late = true
	}
	l.clock += passed
}

// awake reads the clock at the end of a wait.
func (l *Loop) awake(slept Time) {
	l.readClock(slept)
	if l.gap = 0; l.late {
		l.gap = l.now - l.looked
	}
	l.looked, l.late = l.now, false
}

// refresh reads the clock for calls from outside of Run, where no turn does it.
func (l *Loop) refresh() {
	if l.depth == 0 {
		l.readClock(0)
	}
}

// lag returns how far the connections' clock is behind the time. The loop to
// which a connection is carried has another lag.
func (l *Loop) lag() Time { return l.sys.now() - l.clock }

// expire calls what is due, as far as the turn's work goes.
func (l *Loop) expire() {
	for n := range expireMost {
		i, at := l.timers.heap.min()
		if l.timers.heap.len() == 0 || at > l.now || !l.goesOn(n) {
			break
		}
		t := l.retire(i)
		l.enter()
		t.Handler.Expired(l, t)
		l.leave()
	}
	for n := range expireMost {
		i, at := l.deadlines.min()
		if l.deadlines.len() == 0 || at > l.clock || !l.goesOn(n) {
			break
		}
		l.deadlines.remove(i)
		if c := l.conns.slots[i].val; c != nil {
			l.enter()
			c.overdue()
			l.leave()
		}
	}
}

// nextDeadline returns the earliest moment at which expire has work.
func (l *Loop) nextDeadline() (at Time, ok bool) {
	if l.timers.heap.len() > 0 {
		_, at = l.timers.heap.min()
		ok = true
	}
	if l.deadlines.len() > 0 {
		_, d := l.deadlines.min()
		if d = d.Add((l.now - l.clock).Sub(0)); !ok || d < at {
			at, ok = d, true
		}
	}
	return at, ok
}
