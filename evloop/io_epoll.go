// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The epoll back end. It serves every descriptor, or, if there is a ring, all
// that the ring does not. This file has the way of a byte, from an event to a read and
// from a queue to a send. How the loop waits is in io_epoll_wait.go, and what few bytes
// meet in io_epoll_ctl.go: how a connection begins, waits for room and ends.
//
// Each system call stands beside the loop that makes it. Calls on a socket with
// MSG_DONTWAIT cannot block and use RawSyscall, which skips the scheduler's
// bookkeeping: a quarter of the CPU of an echo. Calls that could block if another
// process cleared O_NONBLOCK on the shared description (ttys, pipes, accept) go
// through the scheduler, so that other goroutines go on.
//
// A connection is registered once, for IN, RDHUP, PRI and ET. The edge is
// remembered as edgeReadable until a read finds nothing more, so stopping early (budget,
// pause) loses no event. With level-triggered events a paused connection would need two
// MODs, and a hung-up one would spin.
type epoll struct {
	l      *Loop
	ring   *ring // serves stream sockets in place of epoll; nil: there is none
	events [mostEvents]unix.EpollEvent
	pieces [maxVectors][]byte
	naps   bool // the last sleep was short
	full   int  // what a read of a flood brings: readSize, unless a test wants less

	flooded *Conn // the receiver of the last splice, while what it sends may belong to a flood
}

const (
	edgeTriggered = unix.EPOLLET & 0xffffffff // negative in x/sys on some architectures
	interestRead  = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLPRI | edgeTriggered
	hangup        = unix.EPOLLHUP | unix.EPOLLERR
	// marks are events after which a short read does not mean drained: behind
	// the bytes stands a FIN, or urgent data, at whose mark recv stops.
	marks = unix.EPOLLRDHUP | unix.EPOLLPRI | hangup
)

// dispatchAll serves the first n events of the list.
func (e *epoll) dispatchAll(n int) {
	e.l.work.crowded = n == e.l.work.events
	for i := range e.events[:n] {
		ev := &e.events[i]
		e.dispatch(tokenOf(ev), ev.Events)
	}
}

func tokenOf(ev *unix.EpollEvent) token {
	return token(uint32(ev.Pad))<<32 | token(uint32(ev.Fd))
}

func (e *epoll) dispatch(t token, events uint32) {
	l := e.l
	switch t.source() {
	case sourceConn:
		if c := l.conns.at(t.slot()); c != nil && c.gen == t.gen() {
			if events == unix.EPOLLOUT && l.Spent() {
				c.edge &^= edgeStuck
				c.flags |= flagRoom // a thousand full queues may get room at once
				c.makeReady()
				return
			}
			e.react(c, events)
			return
		}
	case sourceListener:
		if ln := l.listeners.at(t.slot()); ln != nil && ln.gen == t.gen() {
			ln.backlog = true
			ln.accept()
			return
		}
	case sourceWatch:
		if w := l.watches.at(t.slot()); w != nil && w.gen == t.gen() {
			l.enter()
			w.h.Ready(w, events)
			l.leave()
			return
		}
	case sourceWaker:
		return // runPosted looks at the list in every turn
	}
	l.stats.StaleEvents++
}

// react serves one event of c: output first, because it frees memory.
func (e *epoll) react(c *Conn, events uint32) {
	if c.state >= stateDead {
		return
	}
	if r := e.ring; r != nil && r.serves(c) {
		r.react(c, events)
		return
	}
	if events&hangup != 0 {
		c.edge |= edgeHup
	}
	if events&(unix.EPOLLOUT|hangup) != 0 && c.edge&edgeArmed != 0 {
		c.edge &^= edgeStuck
		e.l.enter()
		e.l.flush(c)
		e.l.leave()
	}
	if events&(unix.EPOLLIN|marks) == 0 || c.state >= stateDead {
		return
	}
	c.edge |= edgeReadable
	if events&marks != 0 {
		c.edge |= edgeMark
	}
	switch {
	case c.state == stateFlushing:
		if events&hangup != 0 && !c.sentFIN() {
			e.hungUp(c) // nobody is left to flush to
		}
	case c.flags&flagReady != 0: // the ready list serves it, so that it has one budget
	case events&hangup != 0 && e.l.Spent():
		c.makeReady() // connections that live come first
	default:
		e.receive(c)
	}
}

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
	for budget, flood := l.readBudget, true; c.edge&edgeReadable != 0 && (c.mayRead() || c.state == stateLingering); {
		if c.state == stateOpen && c.flags&(flagReplay|flagDrained) != 0 {
			return // on the ready list: what was kept comes before new bytes
		}
		if budget <= 0 {
			c.makeReady()
			return
		}
		if flood && c.edge&edgeFlood != 0 {
			if n := e.splice(c, budget*spliceGain); n != 0 {
				budget -= max(n/spliceGain, readCost)
				flood = n >= e.full/4 // two calls for less are dearer than a copy
				continue
			}
		}
		keep, size := l.recall(c), readSize
		if c.kind.isStream() {
			size = min(size, budget) // a packet must fit whatever is left
		}
		n, mark, errno := e.l.sys.recv(c, l.rbuf[keep:keep+size])
		if mark {
			c.edge |= edgeMark
		}
		e.filled(c, n, size)
		budget -= max(n, readCost)
		if !e.read(c, n, errno, size) {
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
			l.broken(c, c.reason()) // all that came before the failure is delivered
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

// send offers the kernel what c has to send until it is all gone or the
// kernel takes no more; then OUT is armed. While the kernel is known to be full,
// there is no system call. Nothing is put off.
func (e *epoll) send(c *Conn) (later bool) {
	if c.edge&edgeStuck != 0 && c.Queued() > 0 {
		return false
	}
	e.narrow(c)
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
			return false
		case errno != 0:
			e.l.sendFailed(c, os.NewSyscallError("send", errno))
			return false
		}
		e.l.sent(c, n)
		if n < total {
			e.awaitRoom(c)
			return false
		}
	}
	if c.edge&edgeArmed != 0 {
		e.disarm(c)
	}
	return false
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
