// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// How output leaves under epoll, and how a connection waits for room. The states are
// pictured at the type epoll.

// send offers the kernel what c has to send until it is all gone or the
// kernel takes no more; then OUT is armed. While the kernel is known to be full,
// there is no system call.
func (e *epoll) send(c *Conn) {
	if c.edge&edgeStuck != 0 && c.Queued() > 0 {
		return
	}
	for sends := 0; c.Queued() > 0; sends++ {
		if sends > 0 {
			e.l.work.left -= callWork // a packet goes alone, and a queue may have many
		}
		pieces, total := e.collect(c)
		n, errno := e.l.sys.send(c, pieces)
		e.clearPieces(c, pieces)
		switch {
		case errno == unix.EINTR:
			continue
		case errno == unix.EAGAIN:
			e.awaitRoom(c)
			return
		case errno != 0:
			e.l.sendFailed(c, os.NewSyscallError("send", errno))
			return
		}
		e.l.sent(c, n)
		if n < total {
			e.awaitRoom(c)
			return
		}
	}
	if c.edge&edgeArmed != 0 {
		e.disarm(c)
	}
}

// collect returns the next pieces to send and their length.
func (e *epoll) collect(c *Conn) (pieces [][]byte, total int) {
	l := e.l
	if l.gather.c == c {
		return l.gather.pieces, l.gather.bytes
	}
	k, last := 0, (*node)(nil)
	for i, off, seen := c.out.head, c.out.off, 0; i != 0 && seen < maxNodes; seen++ {
		n := &l.nodes.nodes[i-1]
		p := n.data()[off:]
		switch {
		case last != nil && last.m == n.m && last.to == n.from: // neighbours in one buffer
			e.pieces[k-1] = e.pieces[k-1][:len(e.pieces[k-1])+len(p)]
		case k == maxVectors:
			return e.pieces[:k], total
		default:
			e.pieces[k] = p
			k++
		}
		total += len(p)
		if !c.kind.isStream() {
			break // a packet is one send
		}
		i, off, last = n.next, 0, n
	}
	return e.pieces[:k], total
}

// clearPieces lets go of what collect returned, which would keep messages alive.
func (e *epoll) clearPieces(c *Conn, pieces [][]byte) {
	if e.l.gather.c != c {
		clear(pieces)
	}
}

// send writes pieces, of which there are at least one and at most maxVectors.
func (k *kernel) send(c *Conn, pieces [][]byte) (int, unix.Errno) {
	if k.sim != nil {
		return k.sim.send(int(c.fd), pieces)
	}
	const flags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL
	fd := uintptr(c.fd)
	var r uintptr
	var errno unix.Errno
	if p := pieces[0]; len(pieces) == 1 {
		if c.kind.isSocket() {
			r, _, errno = unix.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), flags, 0, 0)
			return int(r), errno
		}
	}
	for i, p := range pieces {
		k.iov[i].Base = &p[0]
		k.iov[i].SetLen(len(p))
	}
	if c.kind.isSocket() {
		k.msg.Iov = &k.iov[0]
		k.msg.SetIovlen(len(pieces))
		r, _, errno = unix.RawSyscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&k.msg)), flags)
	} else {
		r, errno = k.file(c, unix.SYS_PWRITEV2, len(pieces))
	}
	clear(k.iov[:len(pieces)]) // they would keep the messages alive
	return int(r), errno
}

// file reads or writes the first n of k.iov on a descriptor that is no socket.
// Any process that shares the open file description can clear O_NONBLOCK, such
// as a shell on its terminal, and the loop must not hang on it. RWF_NOWAIT
// never waits, whatever that flag says. Where the kernel does not know it
// (terminals, pipes before Linux 6.4), O_NONBLOCK is set again and poll(2) is
// asked first.
func (k *kernel) file(c *Conn, call uintptr, n int) (uintptr, unix.Errno) {
	const here = ^uintptr(0) // the position of a stream: both halves of -1
	if c.edge&edgeBlocks == 0 {
		r, _, errno := unix.Syscall6(call, uintptr(c.fd), uintptr(unsafe.Pointer(&k.iov[0])), uintptr(n), here, here, unix.RWF_NOWAIT)
		switch errno {
		default:
			return r, errno
		case unix.EOPNOTSUPP, unix.ENOSYS, unix.EINVAL, unix.EPERM: // the last is a seccomp filter's
			c.edge |= edgeBlocks
		}
	}
	events, plain := int16(unix.POLLIN), uintptr(unix.SYS_READV)
	if call == unix.SYS_PWRITEV2 {
		events, plain = unix.POLLOUT, unix.SYS_WRITEV
	}
	k.keepNonblock(int(c.fd))
	if k.poll(c.fd, events) == 0 {
		return ^uintptr(0), unix.EAGAIN
	}
	r, _, errno := unix.Syscall(plain, uintptr(c.fd), uintptr(unsafe.Pointer(&k.iov[0])), uintptr(n))
	return r, errno
}

// awaitRoom has the kernel say when it takes more of c's output.
func (e *epoll) awaitRoom(c *Conn) {
	c.edge |= edgeStuck
	if c.edge&edgeArmed == 0 {
		c.edge |= edgeArmed
		e.modify(c)
	}
}

// disarm ends the wait for room: nothing is queued any more.
func (e *epoll) disarm(c *Conn) {
	if c.edge&edgeHeld != 0 {
		return // the flush behind Done does it
	}
	c.edge &^= edgeArmed | edgeStuck
	e.modify(c)
}
