// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/evloop/internal/uring"
)

// What the simulation, or the work on it, has found in how the ring enters the
// kernel, on one that is played.

// enteredBy returns a loop whose io_uring_enter is enter, and that has no
// other system calls worth the name.
func enteredBy(t *testing.T, enter func(k *uring.Kernel, wait bool) unix.Errno) *Loop {
	t.Helper()
	k := &uring.Kernel{}
	k.Enter = func(_ int, wait bool, _ time.Duration) unix.Errno { return enter(k, wait) }
	l, err := newLoop(Config{IOUring: &IOUring{}}, &simulation{
		classify: func(int) fdKind { return bothWays | kindSocket | kindTCP },
		now:      monotonic,
		epollCtl: func(int, int, uint32, token) error { return nil },
		ring:     func(count, size int) *uring.Ring { return uring.Simulate(k, 4, 4, count, size) },
		closeFD:  func(int, bool) {},
		pause:    func(time.Duration) {},
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
		takeAll(k, ringOf(l).r)
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

// A signal may have stopped the process for long, so a loop that was woken by
// one asks what has come before anything expires.
func TestRingAsksAfterAnInterruption(t *testing.T) {
	interrupted, asked := false, false
	var l *Loop
	l = enteredBy(t, func(k *uring.Kernel, wait bool) unix.Errno {
		takeAll(k, ringOf(l).r)
		asked = asked || interrupted
		if wait {
			interrupted = true
			return unix.EINTR
		}
		return 0
	})
	if err := l.turn(true); err != nil {
		t.Fatal(err)
	}
	if !interrupted || !asked {
		t.Errorf("interrupted: %t, asked again: %t", interrupted, asked)
	}
}

// A completion that the kernel keeps, for want of room in the queue, may be of
// anybody's input. Until it is there nobody is idle.
func TestRingEndsNobodyWhileItOverflows(t *testing.T) {
	var l *Loop
	var kernel *uring.Kernel
	l = enteredBy(t, func(k *uring.Kernel, _ bool) unix.Errno {
		kernel = k
		takeAll(k, ringOf(l).r)
		return 0
	})
	l.sys.sim.poll = func(int, int16) int16 { return 0 }
	h := newProbe(t)
	c, err := l.Add(1<<20, h, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.SetOptions(&Options{IdleTimeout: time.Second})
	if err := l.turn(false); err != nil {
		t.Fatal(err)
	}
	for _, over := range []bool{true, false} {
		kernel.Overflow(over)
		l.clock += Time(time.Minute)
		l.expire()
		if h.of(c).closed == over {
			t.Errorf("overflowed: %t, closed: %t", over, !over)
		}
	}
}

// A shortage that lasts is waited out, with pauses that grow to a second. A
// thousand tries in a row, a millisecond, ended the loop.
func TestRingOutlastsShortage(t *testing.T) {
	tries := 0
	var l *Loop
	l = enteredBy(t, func(k *uring.Kernel, wait bool) unix.Errno {
		if tries++; tries < 5000 {
			return unix.ENOMEM
		}
		takeAll(k, ringOf(l).r)
		return 0
	})
	pauses, longest := 0, time.Duration(0)
	l.sys.sim.pause = func(d time.Duration) { pauses++; longest = max(longest, d) }
	if err := l.turn(false); err != nil {
		t.Fatal(err)
	}
	if pauses == 0 || longest != time.Second {
		t.Errorf("%d pauses, the longest %v, want a second", pauses, longest)
	}
	tries = 0
	ringOf(l).todo = append(ringOf(l).todo, newTag(opEpoll, 0, 0))
	l.sys.sim.pause = func(time.Duration) { l.Stop() }
	if err := l.turn(false); !errors.Is(err, unix.EBUSY) {
		t.Errorf("stopped in a shortage: %v, want %v", err, unix.EBUSY)
	}
}

// An enter fails for good while long output is pinned for it. The pins outlived
// the loop, for which the garbage collector ends the process.
func TestRingThatFailsLeavesNothingPinned(t *testing.T) {
	t.Run("a loop that fails", failWithOutput)
	for range 2 {
		collected := make(chan bool)
		runtime.SetFinalizer(new([64]byte), func(*[64]byte) { close(collected) })
		runtime.GC()
		<-collected // among the finalizers of this collection
	}
}

func failWithOutput(t *testing.T) {
	var l *Loop
	broken := false
	l = enteredBy(t, func(k *uring.Kernel, _ bool) unix.Errno {
		if broken {
			return unix.EBADF
		}
		takeAll(k, ringOf(l).r)
		return 0
	})
	c, err := l.Add(1<<20, newProbe(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.turn(false); err != nil {
		t.Fatal(err)
	}
	broken = true
	c.Write(make([]byte, 2*copyMost))
	l.enter()
	l.leave()
	if err := l.turn(false); !errors.Is(err, unix.EBADF) {
		t.Errorf("turn: %v, want %v", err, unix.EBADF)
	}
}

// An adder adds connections when another is closed.
type adder struct {
	*probe
	n int
}

func (a *adder) Closed(c *Conn, err error) {
	for ; a.n > 0; a.n-- {
		if _, err := c.Loop().Add(1<<20+a.n, a.probe, nil); err != nil {
			a.t.Error(err)
		}
	}
}

// The failure of a send has a handler add connections, more than one enter
// takes, just before the loop sleeps. Some of their receives have a result
// before it does, and it must not sleep on them.
func TestRingDoesNotSleepOnResults(t *testing.T) {
	var l *Loop
	l = enteredBy(t, func(k *uring.Kernel, wait bool) unix.Errno {
		if n := len(ringOf(l).events) - ringOf(l).at; wait && n > 0 {
			t.Errorf("sleeps on %d completions", n)
		}
		for ringOf(l).r.Staged() > 0 && k.Room() > 0 {
			switch e := k.Take(); e.Opcode {
			case uring.OpSend:
				k.Post(uring.CQE{UserData: e.UserData, Res: -int32(unix.EPIPE)})
			case uring.OpRecv:
				k.Post(uring.CQE{UserData: e.UserData, Res: -int32(unix.EINTR)})
			}
		}
		return 0
	})
	c, err := l.Add(1<<20, &adder{newProbe(t), 9}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Write([]byte("farewell"))
	c.CloseAfterFlush(time.Hour, nil)
	l.enter()
	l.leave()
	ringOf(l).todo = ringOf(l).todo[:0] // what c and epoll have asked for is another story
	if err := l.turn(true); err != nil {
		t.Fatal(err)
	}
}
