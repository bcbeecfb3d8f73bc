// SPDX-License-Identifier: Apache-2.0

package load

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A behind is the server behind a relay. It runs in the process of the load, in the
// same turns of the same poller: a third process would take its time from one of the
// two CPUs and could not be told from other load. It says back what it hears, takes
// it without a word (sink), or resets each connection that has said something (reset).
type behind struct {
	poll        *poller
	listener    int
	sink, reset bool
	taken       uint64 // bytes, by a sink
	conns       map[int]*backlog
	buf         []byte
}

// A backlog is what could not be said back yet. Clients of the bench have at most a
// window of messages on the way, so it is bounded by that.
type backlog struct{ rest []byte }

// behindBase tells the events of a behind from those of its poller's owner, whose
// indexes are not negative.
const behindBase = -2

func behindIndex(fd int) int { return behindBase - fd }

// attach has p serve the connections to a listening socket.
func attach(p *poller, o Options) error {
	if o.Behind == 0 {
		return nil
	}
	b := &behind{
		poll: p, listener: o.Behind, sink: o.Mode == ProxyBulk, reset: o.Mode == ProxyReset,
		conns: map[int]*backlog{}, buf: make([]byte, bufferSize),
	}
	if err := unix.SetNonblock(b.listener, true); err != nil {
		return fmt.Errorf("server behind the relay: %w", os.NewSyscallError("fcntl", err))
	}
	p.behind = b
	return p.add(b.listener, behindIndex(b.listener))
}

// event serves what has happened to a descriptor.
func (b *behind) event(index int) error {
	fd := behindBase - index
	if fd == b.listener {
		return b.accept()
	}
	l := b.conns[fd]
	if l == nil {
		return nil // it has ended in this turn
	}
	if err := b.serve(fd, l); err != nil {
		// The end of a connection is nothing to complain of here: what a client misses,
		// it finds out itself.
		delete(b.conns, fd)
		unix.Close(fd)
	}
	return nil
}

func (b *behind) accept() error {
	for {
		fd, _, err := unix.Accept4(b.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ECONNABORTED):
			continue
		case err != nil:
			return fmt.Errorf("server behind the relay: %w", os.NewSyscallError("accept4", err))
		}
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
			return fmt.Errorf("server behind the relay: %w", os.NewSyscallError("setsockopt", err))
		}
		b.conns[fd] = new(backlog)
		if err := b.poll.add(fd, behindIndex(fd)); err != nil {
			return err
		}
	}
}

// serve reads and answers until there is no more, or no more room.
func (b *behind) serve(fd int, l *backlog) error {
	if b.sink {
		return b.swallow(fd)
	}
	for {
		if len(l.rest) > 0 {
			n, err := send(fd, l.rest)
			if l.rest = l.rest[n:]; err != nil || len(l.rest) > 0 {
				return err
			}
		}
		n, err := receive(fd, b.buf)
		if n == 0 || err != nil {
			return err
		}
		if b.reset {
			return errors.Join(errReset, unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
		}
		sent, err := send(fd, b.buf[:n])
		if err != nil {
			return err
		}
		if l.rest = append(l.rest[:0], b.buf[sent:n]...); n < len(b.buf) && len(l.rest) == 0 {
			return nil
		}
	}
}

var errReset = errors.New("reset as asked")

// swallow takes what has come. The kernel throws it away without a copy, so that the
// relay is the slower side.
func (b *behind) swallow(fd int) error {
	for {
		n, err := discard(fd, sinkPiece)
		if n == 0 || err != nil {
			return err
		}
		b.taken += uint64(n)
	}
}

// sinkPiece is the most that a sink takes at once.
const sinkPiece = 1 << 20

func (b *behind) close() {
	for fd := range b.conns {
		unix.Close(fd)
	}
}
