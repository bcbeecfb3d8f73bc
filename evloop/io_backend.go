// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"penstock/evloop/internal/uring"
)

// A backend moves the bytes of streams between a Loop and the kernel. There is
// one for each kernel mechanism: epoll tells when a system call is worth
// making, ring (io_uring) is told to do it and reports the result. The verbs
// therefore say what is wanted. The results arrive at the Loop through
// received, ended and broken for input, and through sent and sendFailed,
// followed by afterSend, for output. All calls come from the loop's goroutine.
// A Loop knows nothing else of its back end, and what a back end knows of the
// kernel is its own, see edge.
//
// Listeners, watches and the waker are epoll's under either back end, and the
// ring watches that epoll as one more descriptor. A multishot accept would
// empty the backlog at once, although Config.Connections, Pause and Close are
// to leave clients waiting there.
type backend interface {
	mover

	// wait serves the events that are there. If there are none, it first
	// sleeps, for at most timeout; negative means for ever.
	wait(timeout Time) error

	// offer hands the kernel now what send has put off.
	offer()

	// detach lets go of connections, whose descriptors stay open: nothing is
	// received for them any more, and input that has left the kernel is moved to
	// c.in. Nothing is reported for them afterwards. If it fails, all stay, and
	// the back end is of no use any more: wait will return the error.
	detach(conns []*Conn) error

	// close closes the back end's descriptors and gives back its memory. No
	// connection is left.
	close()
}

// A mover is what a back end does for one connection.
type mover interface {
	// open begins to receive from c, and to send what c has queued already.
	// Input that came before is reported too, but never inside the call.
	open(c *Conn) error

	// receive goes on with input that was held back, if c may be read or
	// lingers.
	receive(c *Conn)

	// pending reports whether the kernel, or the back end, has news of c, or an
	// error or a hang-up, that it has not reported yet. It is asked before a
	// connection is ended for having done nothing.
	pending(c *Conn, what news) bool

	// release gives back the buffers in which input of c is held (Conn.held):
	// c has failed, and nobody will want it.
	release(c *Conn)

	// send offers the kernel what c has queued: now, or together with others
	// when the turn ends, offer is called, or a queue is full. What the kernel
	// does not take waits until it reports room, and send has nothing to do
	// meanwhile. With nothing queued it ends that wait: what was to be sent may
	// have been dropped. Nothing is in flight while callbacks run, so a queue
	// may be changed at any time between send and its result. The result is true if
	// the kernel will be asked before the loop sleeps: afterSend follows then.
	send(c *Conn) (later bool)

	// end cancels whatever is under way for c and closes its descriptor. Nothing
	// is reported for c afterwards.
	end(c *Conn)
}

// news is what pending looks for, in events of poll(2).
type news int16

const (
	newsNone  news = 0
	newsInput news = unix.POLLIN | unix.POLLRDHUP
	newsRoom  news = unix.POLLOUT
)

// IOUring asks for io_uring(7) in place of epoll(7). The zero value is usable.
// Where the kernel refuses a ring the loop uses epoll, and Fallback says why.
type IOUring struct {
	// Probe says whether a ring may be made here: nil, or why not. It is asked
	// once, by New, and not at all on 32-bit ARM, where there is no ring. It
	// should run ProbeIOUring in a child process with a deadline: a seccomp
	// filter that kills for the attempt then kills the child. Without a Probe,
	// New makes the attempt itself, and such a filter kills the program.
	Probe func() error
	// Memory is the bytes that the receive buffers take, at most 1 MiB, rounded
	// down to a power of two. Zero means 512 KiB. While all are full, receiving
	// stops until the turn ends.
	Memory int
}

// Fallback says why the loop uses epoll although Config.IOUring asks for a ring.
// It is nil if the loop has what Config asks for, and else an *os.SyscallError of
// io_uring_setup(2) or io_uring_register(2), the error of IOUring.Probe, or one
// that says in words what the kernel lacks. Any goroutine may call it.
func (l *Loop) Fallback() error { return l.fallback }

// choose makes the back end: the ring where that is wanted and possible, and
// otherwise epoll. The ring needs an epoll, too. The error is that of epoll.
func (l *Loop) choose(cfg Config) error {
	ep, err := newEpoll(l)
	if err != nil {
		return err
	}
	l.be = ep
	if cfg.IOUring == nil {
		return nil
	}
	if l.fallback = cfg.IOUring.ask(); l.fallback != nil {
		return nil
	}
	r, err := newRing(ep, cfg.IOUring.Memory)
	if err != nil {
		l.fallback = err
		return nil
	}
	l.be = r
	return nil
}

// ask finds out whether making a ring is safe.
func (u *IOUring) ask() error {
	switch {
	case u.Probe == nil:
		return nil
	case runtime.GOARCH == "arm": // the answer is known without a child process
		return fmt.Errorf("%w: 32-bit ARM", uring.ErrUnsupported)
	}
	return u.Probe()
}

// ProbeIOUring makes a ring as New would, uses it, and returns what went wrong.
// Where a seccomp filter kills for the attempt, it does not return. So call it
// in a child process that does nothing else, and treat the death of that
// process as a refusal. It locks the calling goroutine to its thread meanwhile.
func ProbeIOUring() error {
	l, err := New(Config{IOUring: &IOUring{}, Connections: 1})
	if err != nil {
		return err
	}
	defer l.Close()
	if l.fallback != nil {
		return l.fallback
	}
	return l.be.wait(0)
}
