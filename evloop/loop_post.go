// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A waker is the only way into the loop from other goroutines: a list of
// functions and an eventfd(2). Any number of posts between two turns cost one
// write, because only the first finds the flag clear. The loop clears the
// flag before it takes the list: the other order would lose the wake-up of a
// post that came between. The eventfd is registered edge-triggered and never
// read; every write is an edge, and its counter has room for centuries.
type waker struct {
	fd      int
	write   func(fd int) unix.Errno // addOne; a test has its own, which fails
	pending atomic.Bool
	failed  atomic.Bool // the last write failed: the next turn looks at posted all the same

	mu     sync.Mutex // guards the following
	posted []posting
	spare  []posting
	closed bool
}

// A posting is a function for the loop, and what is done instead if the loop ends
// before.
type posting struct{ run, dropped func() }

func (w *waker) open(k *kernel) error {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	w.fd, w.write = fd, addOne
	if err := w.watch(k); err != nil {
		unix.Close(fd)
		return err
	}
	return nil
}

// watch registers the eventfd. If it was written to before, that is reported.
func (w *waker) watch(k *kernel) error {
	return k.watch(w.fd, unix.EPOLLIN, newToken(sourceWaker, 0, 0))
}

// addOne adds one to the counter of an eventfd.
func addOne(fd int) unix.Errno {
	one := uint64(1)
	_, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&one)), unsafe.Sizeof(one))
	return errno
}

// close returns what has been posted and will not run.
func (w *waker) close() []posting {
	w.mu.Lock()
	defer w.mu.Unlock()
	left := w.posted
	w.closed = true
	w.posted = nil
	unix.Close(w.fd)
	return left
}

// now makes the present or the next wait return at once.
func (w *waker) now() {
	w.mu.Lock() // the descriptor must not be closed, and reused, under the write
	defer w.mu.Unlock()
	if w.closed || !w.pending.CompareAndSwap(false, true) {
		return
	}
	for range wakeTries {
		switch w.write(w.fd) {
		case 0, unix.EAGAIN: // EAGAIN would mean a full counter, which is awake enough
			w.failed.Store(false)
			return
		}
	}
	w.failed.Store(true)
	w.pending.Store(false) // so that the next call tries again
}

// wakeTries is how often a wake-up is tried. The kernel itself refuses it only
// when it is interrupted; a seccomp filter or a tracer may refuse it too.
const wakeTries = 8

// Post runs f on the loop's goroutine in one of its next turns, in the order
// of the calls. Any goroutine may call it, also before Run and on
// the loop itself. It returns false, and f will not run, after Close. A
// function that is posted and not yet run when the loop stops is not run: if it
// owns something, such as a descriptor, use PostOr.
func (l *Loop) Post(f func()) bool { return l.post(posting{run: f}) }

// PostOr is Post for a function that owns something. Exactly one of f and dropped
// is called: dropped, if the loop is closed before f has run. Then Close calls it,
// on its goroutine, or PostOr itself does after Close. It may use nothing of the
// loop.
func (l *Loop) PostOr(f, dropped func()) {
	if !l.post(posting{f, dropped}) {
		dropped()
	}
}

func (l *Loop) post(p posting) bool {
	w := &l.wake
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return false
	}
	w.posted = append(w.posted, p)
	w.mu.Unlock()
	w.now()
	return true
}

// postedKept is the capacity up to which a list is used again. One that a storm
// of posts has made larger is left to the garbage collector.
const postedKept = 1024

// take returns what was posted; the slice is the caller's until the next take.
func (w *waker) take() []posting {
	if !w.pending.Load() && !w.failed.Load() {
		return nil
	}
	w.pending.Store(false)
	w.failed.Store(false)
	w.mu.Lock()
	defer w.mu.Unlock()
	fs := w.posted
	w.posted, w.spare = w.spare[:0], fs
	if cap(fs) > postedKept {
		w.spare = nil
	}
	return fs
}

// runPosted runs the functions that were posted, as far as the turn's work
// goes.
func (l *Loop) runPosted() {
	if len(l.posted) == 0 {
		l.posted = l.wake.take()
	}
	n := 0
	for ; n < len(l.posted) && l.goesOn(n); n++ {
		l.enter()
		l.posted[n].run()
		l.leave()
	}
	clear(l.posted[:n]) // the garbage collector may have what they hold
	if l.posted = l.posted[n:]; len(l.posted) == 0 {
		l.posted = nil // it may be large, see postedKept
	}
}

// unrun tells those whose functions will not run.
func (l *Loop) unrun(left []posting) {
	for _, p := range left {
		if p.dropped != nil {
			p.dropped()
		}
	}
}
