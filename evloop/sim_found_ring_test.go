// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/evloop/internal/uring"
)

// What the simulation of io_uring has found, as sim_found_test.go does for
// epoll.

// enteredBy returns a loop whose io_uring_enter is enter, and that has no
// other system calls worth the name.
func enteredBy(t *testing.T, enter func(k *uring.Kernel, wait bool) unix.Errno) *Loop {
	t.Helper()
	k := &uring.Kernel{}
	k.Enter = func(_ int, wait bool, _ time.Duration) unix.Errno { return enter(k, wait) }
	l, err := newLoop(Config{Backend: IOUring}, &simulation{
		now:      monotonic,
		epollCtl: func(int, int, uint32, token) error { return nil },
		ring:     func(count, size int) *uring.Ring { return uring.Simulate(k, 4, 4, count, size) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// takeAll takes what is staged.
func takeAll(k *uring.Kernel, r *uring.Ring) {
	for r.Staged() > 0 {
		k.Take()
	}
}

// A kernel that is short of memory refuses an enter, and takes the next one.
// The one before sleeping ended the loop for it.
func TestRingSleepsInSpiteOfShortage(t *testing.T) {
	refused := false
	var l *Loop
	l = enteredBy(t, func(k *uring.Kernel, wait bool) unix.Errno {
		if wait && !refused {
			refused = true
			return unix.ENOMEM
		}
		takeAll(k, l.ring.r)
		return 0
	})
	for range 2 {
		if err := l.turn(true); err != nil {
			t.Fatal(err)
		}
	}
	if !refused {
		t.Error("the loop did not sleep")
	}
}
