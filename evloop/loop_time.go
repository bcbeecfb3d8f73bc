// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// A Time is a moment on CLOCK_MONOTONIC, in nanoseconds (clock_gettime(2)).
// It stands still while the machine is suspended and never jumps when NTP
// sets a board without a real-time clock. Zero means "no moment". A Time may
// be handed to another process of the same boot: the clock is one for all.
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
// x/sys would enter the kernel for it. So the loop asks the kernel once for
// the distance between the two and reads the cheap one from then on.
var (
	clockBase   = time.Now()
	clockOffset = kernelTime() - Time(time.Since(clockBase))
)

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
