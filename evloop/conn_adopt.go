// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Add adopts a connected socket, a tty, a FIFO or a pipe end that somebody else
// opened, calls h.Open and owns fd from success on. The direction of a pipe end
// is its open mode. O_NONBLOCK is set, on the open file description, SO_LINGER
// is cleared, so that close never waits, and the send buffer is bounded as
// Options.Queue says. On a Unix stream the kernel is told to refuse descriptors
// that the peer passes (SO_PASSRIGHTS, Linux 6.16), since no handler could
// receive them. Errors: unix.EPERM for regular files and other descriptors that
// cannot be polled, ErrSocketType for datagram sockets, ErrLoopClosed, and
// those of fstat(2), getsockopt(2), fcntl(2) and epoll_ctl(2).
func (l *Loop) Add(fd int, h Handler, state any) (*Conn, error) {
	l.checkCaller()
	c, err := l.adopt(fd, h, state)
	if err == nil {
		l.sys.tune(c)
	}
	return l.begin(fd, c, err)
}

// AddOwn is Add for a descriptor whose open file description belongs to the caller alone:
// it was opened here, and no other process has it but one that leaves its O_NONBLOCK alone,
// as a loop does. So a read of a terminal need not ask first, which saves two system calls
// of three, and one of a pipe need not tell the scheduler. The other end of a pipe has a
// description of its own.
func (l *Loop) AddOwn(fd int, h Handler, state any) (*Conn, error) {
	l.checkCaller()
	c, err := l.adopt(fd, h, state)
	if err == nil {
		l.sys.tune(c)
		c.own()
	}
	return l.begin(fd, c, err)
}

// AddStream is Add for a stream socket that the caller has made itself, non-blocking, and
// on which nobody has set SO_LINGER: of TCP, or else a Unix socket. The kernel is not asked
// what is known, which saves five system calls for each connection of a relay.
func (l *Loop) AddStream(fd int, tcp bool, h Handler, state any) (*Conn, error) {
	l.checkCaller()
	kind := bothWays | kindSocket | kindUnix
	if tcp {
		kind = bothWays | kindSocket | kindTCP
	}
	c, err := l.adoptKind(fd, kind, h, state)
	if err == nil {
		l.sys.noDelay(c)
	}
	return l.begin(fd, c, err)
}

// begin has the back end serve a new connection, unless err says that there is none, and
// tells its handler.
func (l *Loop) begin(fd int, c *Conn, err error) (*Conn, error) {
	if err == nil {
		if err = l.be.open(c); err != nil {
			l.conns.remove(c.slot)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("evloop: add fd %d: %w", fd, err)
	}
	l.enter()
	c.h.Open(c)
	c.bound(c.opts.queue()) // nothing to do if Open has called SetOptions
	l.leave()
	return c, nil
}

func (l *Loop) adopt(fd int, h Handler, state any) (*Conn, error) {
	if l.closed {
		return nil, ErrLoopClosed
	}
	if l.sys.sim != nil {
		return l.adoptKind(fd, l.sys.sim.classify(fd), h, state)
	}
	kind, err := classify(fd)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return l.adoptKind(fd, kind, h, state)
}

// adoptKind is for a descriptor that a loop has had before, and whose kind is known.
func (l *Loop) adoptKind(fd int, kind fdKind, h Handler, state any) (*Conn, error) {
	if l.closed {
		return nil, ErrLoopClosed
	}
	l.refresh()
	return l.newConn(fd, kind, h, state), nil
}

// newConn makes the connection known to the loop, not yet to the kernel.
func (l *Loop) newConn(fd int, kind fdKind, h Handler, state any) *Conn {
	c := &Conn{State: state, loop: l, h: h, opts: defaultOptions, out: &noQueue, fd: int32(fd), kind: kind, lastIn: l.clock, lastOut: l.clock}
	c.slot, c.gen = l.conns.insert(c)
	l.opened = true
	return c
}
