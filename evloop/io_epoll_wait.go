// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// How the loop waits and sleeps. To sleep in a call that Go's scheduler knows of lets other
// goroutines have the processor, but the end of that call wakes the scheduler's monitor,
// which then looks every 20 us what we do. With a thousand sleeps a second that was a quarter
// of what a bridge costs. So:
//
//	asks without sleeping         a raw call: a busy loop never pays for the scheduler
//	sleeps                        a call that the scheduler knows of
//	sleeps behind a short sleep   first a nap, a raw call of 2 ms at most
//
// To sleep in raw calls alone would stop all goroutines at the first garbage collection,
// which has to wait for a nap. A sleep that ends before the monitor has looked twice costs
// less than the timer of a nap, and the next one does not begin with it.

const (
	nap = Time(2 * time.Millisecond)
	// soon is when the monitor has looked twice, and some.
	soon = Time(100 * time.Microsecond)
)

// wait gathers events, for at most timeout (negative: for ever), and serves
// them. It asks without sleeping first, and lets other goroutines run before it sleeps. An
// interrupted sleep may have been long (SIGSTOP), so what has come is served
// before anything expires.
func (e *epoll) wait(timeout Time) error {
	l, slept, before := e.l, Time(0), e.l.now
	events := e.events[:l.work.events]
	n, errno := l.sys.epollWait(events, 0)
	if n == 0 && errno == 0 && timeout != 0 {
		runtime.Gosched()
		slept = timeout
		n, errno = e.sleep(events, timeout)
	}
	for errno == unix.EINTR {
		n, errno = l.sys.epollWait(events, 0)
	}
	l.awake(slept)
	if lasted := l.now - before; slept != 0 {
		e.naps = soon < lasted && lasted < nap
	}
	if errno != 0 {
		return os.NewSyscallError("epoll_pwait", errno)
	}
	e.dispatchAll(n)
	return nil
}

// sleep waits for timeout, and begins with a nap if that is the way now.
func (e *epoll) sleep(events []unix.EpollEvent, timeout Time) (n int, errno unix.Errno) {
	if e.naps && (timeout < 0 || timeout > nap) {
		if n, errno = e.l.sys.nap(events); n != 0 || errno != 0 {
			return n, errno
		}
		timeout = max(timeout-nap, -1)
	}
	return e.l.sys.epollWait(events, timeout)
}

// epollWait returns at once for a zero timeout, and then as a raw call.
func (k *kernel) epollWait(evs []unix.EpollEvent, timeout Time) (int, unix.Errno) {
	if k.sim != nil {
		return k.sim.epollWait(evs, timeout)
	}
	if timeout == 0 {
		return k.epollRaw(evs, 0)
	}
	r, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(k.epfd),
		uintptr(unsafe.Pointer(&evs[0])), uintptr(len(evs)), uintptr(millis(timeout.Sub(0))), 0, 0)
	return int(r), errno
}

// nap sleeps for at most nap.
func (k *kernel) nap(evs []unix.EpollEvent) (int, unix.Errno) {
	if k.sim != nil {
		return k.sim.epollWait(evs, nap)
	}
	return k.epollRaw(evs, millis(nap.Sub(0)))
}

// epollRaw is the call. arm64 and riscv64 have no epoll_wait.
func (k *kernel) epollRaw(evs []unix.EpollEvent, ms int) (int, unix.Errno) {
	r, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(k.epfd),
		uintptr(unsafe.Pointer(&evs[0])), uintptr(len(evs)), uintptr(ms), 0, 0)
	return int(r), errno
}
