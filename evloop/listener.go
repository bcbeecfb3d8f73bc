// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A Listener accepts connections from a descriptor that somebody else opened.
// The open file description may be shared, with the service manager for one,
// so it is never shut down, its socket node is never unlinked, and closing it
// here leaves the backlog to the next holder.
//
// An edge is spent when accept stops for any reason but EAGAIN; backlog then
// stays set, and the loop comes back by itself:
//
//	batch or turn used up    next turn, from the ready list
//	connection limit         when a connection closes
//	EMFILE, ENFILE,          when a connection closes, and after 5 ms, 10 ms,
//	ENOBUFS, ENOMEM, or a    … 1 s at the latest
//	batch of errors only
//	a client was put off     next turn, when it has been asked about again
//
// Clients wait in the backlog meanwhile. The alternative was to close a spare
// descriptor, and to accept and end one client with it. But another goroutine may take
// the free number first, and a client that waits is better served than one that is
// refused.
type Listener struct {
	loop      *Loop
	a         Acceptor
	fd        int
	slot, gen uint32
	kind      fdKind
	delay     time.Duration // of the present back-off; 0: none
	retry     TimerID
	noDelay   bool // set TCP_NODELAY on what is accepted
	putOff    putOff
	lingers   bool // clear SO_LINGER on what is accepted
	backlog   bool // the edge was seen and EAGAIN was not
	ready     bool // on the ready list
	paused    bool
	dead      bool
	closed    bool
}

const (
	// acceptBatch bounds what a burst of clients costs the others (Redis
	// takes 10, HAProxy some hundred).
	acceptBatch = 64
	retryFirst  = 5 * time.Millisecond
	retryMost   = time.Second
)

// Listen begins to accept connections from fd, a listening stream or
// seqpacket socket, and owns it from success on. O_NONBLOCK is set. Errors:
// ErrSocketType, ErrNotListening, ErrLoopClosed, and those of
// getsockopt(2), fcntl(2) and epoll_ctl(2).
func (l *Loop) Listen(fd int, a Acceptor) (*Listener, error) {
	l.checkCaller()
	ln, err := l.newListener(fd, a)
	if err == nil {
		err = l.addListener(ln)
	}
	if err != nil {
		return nil, fmt.Errorf("evloop: listen on fd %d: %w", fd, err)
	}
	return ln, nil
}

// newListener prepares fd. The loop does not know the listener yet.
func (l *Loop) newListener(fd int, a Acceptor) (*Listener, error) {
	kind, err := classifySocket(fd)
	if err != nil {
		return nil, err
	}
	on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return nil, os.NewSyscallError("getsockopt", err)
	}
	if on == 0 {
		return nil, ErrNotListening
	}
	ln := &Listener{loop: l, a: a, fd: fd, kind: kind, lingers: l.sys.lingers(fd)} // what is accepted inherits it
	if kind&kindTCP != 0 {
		// Accepted sockets inherit the option (Linux); one call here may save
		// one for each client. Output is gathered, so Nagle could only delay.
		on, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY)
		ln.noDelay = err == nil && on == 0
	}
	return ln, os.NewSyscallError("fcntl", unix.SetNonblock(fd, true))
}

func (l *Loop) addListener(ln *Listener) error {
	if l.closed {
		return ErrLoopClosed
	}
	l.refresh()
	ln.slot, ln.gen = l.listeners.insert(ln)
	err := ln.watch()
	if err != nil {
		l.listeners.remove(ln.slot)
	}
	return err
}

func (ln *Listener) watch() error { return ln.loop.sys.watch(ln.fd, unix.EPOLLIN, ln.token()) }

func (ln *Listener) token() token { return newToken(sourceListener, ln.slot, ln.gen) }

// FD returns the descriptor, which stays the loop's.
func (ln *Listener) FD() int { return ln.fd }

// Dead reports whether accept has failed and will not be tried again, for
// example because another holder has called shutdown(2). The listener must
// still be closed.
func (ln *Listener) Dead() bool { return ln.dead }

// Pause stops accepting; clients wait in the backlog.
func (ln *Listener) Pause() {
	ln.loop.checkCaller()
	ln.paused = true
}

// Resume ends a Pause.
func (ln *Listener) Resume() {
	ln.loop.checkCaller()
	ln.paused = false
	ln.makeReady()
}

// Close stops accepting and closes the descriptor. Connections live on; a
// client that was put off, see PutOff, is refused. It may be called more than
// once.
func (ln *Listener) Close() {
	ln.loop.checkCaller()
	if ln.closed {
		return
	}
	ln.closed = true
	ln.letGo()
	ln.loop.Cancel(ln.retry)
	ln.loop.listeners.remove(ln.slot)
	ln.loop.sys.close(ln.fd, false)
}

// makeReady puts ln on the ready list if there may be a client to accept.
func (ln *Listener) makeReady() {
	if ln.backlog && !ln.ready && !ln.closed && !ln.dead {
		ln.ready = true
		ln.loop.makeReady(ln.token())
	}
}

// mayAccept reports whether to call accept now.
func (ln *Listener) mayAccept() bool {
	if ln.paused || ln.dead || ln.closed || !ln.retry.IsZero() || ln.putOff.waits {
		return false
	}
	if l := ln.loop; l.conns.used >= l.limit {
		l.waiting = true
		return false
	}
	return true
}

// kick has the listeners that wait for a descriptor or a place try again.
func (l *Loop) kick() {
	if !l.waiting {
		return
	}
	l.waiting = false
	for ln := range l.listeners.all {
		if !ln.retry.IsZero() {
			l.Cancel(ln.retry)
			ln.retry = TimerID{}
		}
		ln.makeReady()
	}
}

// accept takes a batch of connections.
func (ln *Listener) accept() {
	l := ln.loop
	if !ln.mayAccept() {
		return
	}
	l.sys.keepNonblock(ln.fd)
	before, last := l.stats.Accepted, unix.Errno(0)
	for n := range acceptBatch {
		if n >= fewestAccept && l.Spent() {
			break
		}
		fd, peer, errno := l.sys.accept(ln.fd)
		if !l.accepted(ln, fd, peer, errno) || !ln.mayAccept() {
			return
		}
		last = errno
	}
	if l.stats.Accepted == before {
		ln.backOff(os.NewSyscallError("accept4", last)) // the EPERM of a firewall may last for ever
		return
	}
	ln.makeReady()
}

// accepted handles the result of one accept and reports whether to go on with
// the batch.
func (l *Loop) accepted(ln *Listener, fd int, peer netip.AddrPort, errno unix.Errno) bool {
	switch errno {
	case 0:
		l.stats.Accepted++
		l.work.left -= acceptWork
		ln.putOff.turns = 0
		l.enter()
		l.admit(ln, fd, peer)
		l.leave()
		return true
	case unix.EAGAIN:
		ln.backlog = false
		return false
	case unix.EINTR:
		return true
	case unix.ECONNABORTED, unix.EPROTO, unix.ENETDOWN, unix.ENOPROTOOPT, unix.EHOSTDOWN,
		unix.ENONET, unix.EHOSTUNREACH, unix.EOPNOTSUPP, unix.ENETUNREACH, unix.EPERM, unix.ETIMEDOUT:
		// Errors of one client that was still in the backlog, which accept(2)
		// says to treat like EAGAIN; EPERM is a firewall's.
		l.stats.AcceptErrors++
		return true
	case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
		l.stats.AcceptErrors++
		ln.backOff(os.NewSyscallError("accept4", errno))
		return false
	}
	ln.dead = true
	l.stats.AcceptErrors++
	l.enter()
	ln.a.Failed(ln, os.NewSyscallError("accept4", errno))
	l.leave()
	return false
}

// backOff stops accepting until a connection closes or the delay has passed.
func (ln *Listener) backOff(err error) {
	l := ln.loop
	l.waiting = true
	first := ln.delay == 0
	ln.delay = min(max(2*ln.delay, retryFirst), retryMost)
	ln.retry = l.Schedule(Timer{Deadline: l.now.Add(ln.delay), Handler: (*acceptRetry)(ln)})
	if first {
		l.enter()
		ln.a.Failed(ln, err)
		l.leave()
	}
}

// acceptRetry is the Listener as a TimerHandler, kept out of its public API.
type acceptRetry Listener

func (r *acceptRetry) Expired(*Loop, Timer) {
	ln := (*Listener)(r)
	ln.retry = TimerID{}
	ln.makeReady()
}

// admit asks the acceptor about a new connection and opens it.
func (l *Loop) admit(ln *Listener, fd int, peer netip.AddrPort) {
	h, state := ln.a.Accept(ln, fd, peer)
	if ln.putOff.asked {
		ln.keep(fd, peer)
		return
	}
	if h == nil {
		ln.delay = 0
		l.sys.closeFD(fd, false)
		return
	}
	if ln.noDelay {
		// MPTCP refuses some options of TCP; a delayed reply is no reason to
		// refuse the client.
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	if ln.lingers {
		l.sys.neverLinger(fd)
	}
	c := l.newConn(fd, ln.kind, h, state)
	if err := l.be.open(c); err != nil {
		l.conns.remove(c.slot)
		l.sys.closeFD(fd, true)
		l.stats.AcceptErrors++
		ln.backOff(err) // the system is short of memory, or of epoll watches (ENOSPC)
		return
	}
	ln.delay = 0 // the shortage of descriptors or of watches is over
	h.Open(c)
	c.bound(c.opts.queue()) // nothing to do if Open has called SetOptions
}
