// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// How the bytes of a connection move under epoll: each system call stands here
// beside the loop that makes it. Calls on a socket with MSG_DONTWAIT cannot
// block and use RawSyscall, which skips the scheduler's bookkeeping: a quarter
// of the CPU of an echo. Calls that could block if another process cleared
// O_NONBLOCK on the shared description (ttys, pipes, accept) go through the
// scheduler, so that other goroutines go on.

// receive reads from c until there is nothing more, its budget for this turn
// is used up or the handler wants no more.
func (e *epoll) receive(c *Conn) {
	l := e.l
	if !c.mayRead() && c.state != stateLingering {
		return
	}
	if !c.kind.reads() || c.flags&flagEOF != 0 {
		if c.edge&edgeHup != 0 {
			e.hungUp(c)
		}
		return
	}
	for budget := l.readBudget; c.edge&edgeReadable != 0 && (c.mayRead() || c.state == stateLingering); {
		if c.state == stateOpen && c.flags&(flagReplay|flagDrained) != 0 {
			return // on the ready list: what was kept comes before new bytes
		}
		if budget <= 0 {
			c.makeReady()
			return
		}
		keep, size := copy(l.rbuf, c.in), readSize
		if c.kind.isStream() {
			size = min(size, budget) // a packet must fit whatever is left
		}
		room := l.rbuf[keep : keep+size]
		n, mark, errno := e.l.sys.recv(c, room)
		if mark {
			c.edge |= edgeMark
		}
		budget -= max(n, readCost)
		if !e.read(c, n, errno, len(room)) {
			return
		}
	}
}

// recv reads from a connection. mark says that a short read does not mean
// drained. Passed descriptors (SCM_RIGHTS) are never asked for, so the kernel
// closes them; but a Unix stream ends a read behind the bytes that carried
// them. recvmsg without room for control data reports that as MSG_CTRUNC. It
// costs a tenth of an echo more than recvfrom, to which a stream changes when
// it is empty and the peer can pass nothing any more. A packet that did not fit
// returns its true length (MSG_TRUNC, recv(2)); on TCP that flag makes the
// kernel throw the bytes away (tcp(7)).
func (k *kernel) recv(c *Conn, p []byte) (n int, mark bool, errno unix.Errno) {
	if k.sim != nil {
		return k.sim.recv(int(c.fd), p)
	}
	fd, size := uintptr(c.fd), uintptr(len(p))
	var r uintptr
	switch {
	case c.kind.plainStream() || c.edge&edgePlain != 0:
		r, _, errno = unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&p[0])), size, unix.MSG_DONTWAIT, 0, 0)
	case c.kind.isSocket():
		flags := uintptr(unix.MSG_DONTWAIT)
		if !c.kind.isStream() {
			flags |= unix.MSG_TRUNC
		}
		k.iov[0].Base = &p[0]
		k.iov[0].SetLen(len(p))
		k.msg.Iov = &k.iov[0]
		k.msg.SetIovlen(1)
		r, _, errno = unix.RawSyscall(unix.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&k.msg)), flags)
		mark = k.msg.Flags&unix.MSG_CTRUNC != 0
		k.msg.Flags = 0
		if empty := errno == unix.EAGAIN || errno == 0 && r < size && !mark; empty && c.edge&edgeNoRights != 0 {
			c.edge |= edgePlain
		}
	default:
		k.iov[0].Base = &p[0]
		k.iov[0].SetLen(len(p))
		r, errno = k.file(c, unix.SYS_PREADV2, 1)
	}
	return int(r), mark, errno
}

// read handles the result of one system call that asked for size bytes, and
// reports whether there may be more.
func (e *epoll) read(c *Conn, n int, errno unix.Errno, size int) bool {
	l := e.l
	switch {
	case errno == unix.EINTR:
		return true
	case errno == unix.EAGAIN:
		c.edge &^= edgeReadable
		if c.flags&flagBroken != 0 {
			l.broken(c, c.reason) // all that came before the failure is delivered
		} else if c.edge&edgeHup != 0 {
			e.hungUp(c)
		}
		return false
	case errno == unix.EIO && c.kind&kindTerminal != 0:
		c.edge &^= edgeReadable
		l.ended(c, true) // the other side of the terminal is gone
		return false
	case errno != 0:
		l.broken(c, os.NewSyscallError("recv", errno))
		return false
	case n == 0 && !c.kind.isStream() && !e.l.sys.finished(c):
		return true // an empty packet
	case n == 0:
		c.edge &^= edgeReadable
		l.ended(c, c.edge&edgeHup != 0 || !c.kind.writes())
		return false
	case n > size && c.state != stateLingering:
		l.broken(c, ErrTruncated)
		return false
	}
	if n < size && c.kind.shortMeansDrained() && c.edge&edgeMark == 0 {
		c.edge &^= edgeReadable // before the handler runs: its reply may bring the next edge
	}
	if c.state != stateLingering { // a lingering connection discards its input
		l.received(c, n)
	}
	return true
}

// finished tells the end of a packet stream from an empty packet: recv returns
// 0 for both. At the end no byte is left and the peer's side is shut, which
// poll(2) knows at once, while the last event may be older.
func (k *kernel) finished(c *Conn) bool {
	if k.sim != nil {
		return k.sim.finished(int(c.fd))
	}
	if k.poll(c.fd, unix.POLLRDHUP) == 0 {
		return false
	}
	left, err := unix.IoctlGetInt(int(c.fd), unix.TIOCINQ)
	return err != nil || left == 0
}

// hungUp ends a connection of which the kernel reports HUP or ERR and from
// which nothing is left to read.
func (e *epoll) hungUp(c *Conn) {
	err := c.lost()
	if c.kind.isSocket() {
		if errno := e.l.sys.socketErr(int(c.fd)); errno != 0 {
			err = os.NewSyscallError("recv", errno)
		}
	} else if !c.kind.reads() {
		err = os.NewSyscallError("write", unix.EPIPE) // a pipe without readers
	}
	e.l.broken(c, err)
}

// pending asks poll(2): an edge that is spent is not reported again.
func (e *epoll) pending(c *Conn, what news) bool {
	e.l.work.left -= callWork
	return e.l.sys.poll(c.fd, int16(what)) != 0
}

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
