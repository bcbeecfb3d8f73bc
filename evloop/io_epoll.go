// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The epoll back end. It serves every descriptor, or, if there is a ring, all
// that the ring does not. This file has the way in, from the wait to the bytes that
// were read, io_epoll_send.go the way out, and io_epoll_ctl.go what the kernel is told
// of a descriptor.
//
// Each system call stands beside the loop that makes it. Calls on a socket with
// MSG_DONTWAIT cannot block and use RawSyscall, which skips the scheduler's
// bookkeeping: a quarter of the CPU of an echo. Calls that could block if another
// process cleared O_NONBLOCK on the shared description (ttys, pipes, accept) go
// through the scheduler, so that other goroutines go on.
//
// A connection is registered once, for IN, RDHUP, PRI and ET. The edge is
// remembered as edgeReadable until a read finds nothing more, so stopping early (budget,
// pause) loses no event. OUT is added only when the kernel took less than it
// was offered and removed when the queue is empty; a MOD reports a condition
// that already holds, so room that appeared in between is not missed. With
// level-triggered events a paused connection would need two MODs, and a hung-up
// one would spin. An OUT that stays registered would come with every IN.
//
//	           short send: MOD +OUT
//	disarmed ───────────────────────► armed
//	    ▲                               │ OUT: send until EAGAIN or empty
//	    └───────────────────────────────┘
//	           queue empty: MOD −OUT
type epoll struct {
	l      *Loop
	ring   *ring // serves stream sockets in place of epoll; nil: there is none
	events [mostEvents]unix.EpollEvent
	pieces [maxVectors][]byte
}

const (
	edgeTriggered = unix.EPOLLET & 0xffffffff // negative in x/sys on some architectures
	interestRead  = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLPRI | edgeTriggered
	hangup        = unix.EPOLLHUP | unix.EPOLLERR
	// marks are events after which a short read does not mean drained: behind
	// the bytes stands a FIN, or urgent data, at whose mark recv stops.
	marks = unix.EPOLLRDHUP | unix.EPOLLPRI | hangup
)

func newEpoll(l *Loop) (*epoll, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	l.sys.epfd = fd
	return &epoll{l: l}, nil
}

func (e *epoll) close() { unix.Close(e.l.sys.epfd) }

// offer has nothing to do: send puts nothing off.
func (*epoll) offer() {}

// release has nothing to do: what was not delivered is still in the kernel.
func (*epoll) release(*Conn) {}

// wait gathers events, for at most timeout (negative: for ever), and serves
// them. It asks without sleeping first, by a raw call: a busy loop never pays
// for the scheduler. Only then it lets other goroutines run, and sleeps in a
// call that the scheduler knows of. Sleeping in a raw call would be cheaper
// still, but would stop all goroutines at the first garbage collection. An
// interrupted sleep may have been long (SIGSTOP), so what has come is served
// before anything expires.
func (e *epoll) wait(timeout Time) error {
	l, slept := e.l, Time(0)
	events := e.events[:l.work.events]
	n, errno := l.sys.epollWait(events, 0)
	if n == 0 && errno == 0 && timeout != 0 {
		runtime.Gosched()
		slept = timeout
		n, errno = l.sys.epollWait(events, timeout)
	}
	for errno == unix.EINTR {
		n, errno = l.sys.epollWait(events, 0)
	}
	l.awake(slept)
	if errno != 0 {
		return os.NewSyscallError("epoll_pwait", errno)
	}
	e.dispatchAll(n)
	return nil
}

// dispatchAll serves the first n events of the list.
func (e *epoll) dispatchAll(n int) {
	e.l.work.crowded = n == e.l.work.events
	for i := range e.events[:n] {
		ev := &e.events[i]
		e.dispatch(tokenOf(ev), ev.Events)
	}
}

// poll serves what is there, for a back end that waits elsewhere, and reports
// whether there may be more: the array was full, and the descriptor of epoll
// does not say so again.
func (e *epoll) poll() (more bool, err error) {
	n, errno := -1, unix.EINTR
	for errno == unix.EINTR {
		n, errno = e.l.sys.epollWait(e.events[:e.l.work.events], 0)
	}
	if errno != 0 {
		return false, os.NewSyscallError("epoll_pwait", errno)
	}
	e.dispatchAll(n)
	return n == e.l.work.events, nil
}

// epollWait returns at once for a zero timeout, and then as a raw call.
func (k *kernel) epollWait(evs []unix.EpollEvent, timeout Time) (int, unix.Errno) {
	if k.sim != nil {
		return k.sim.epollWait(evs, timeout)
	}
	// epoll_pwait: arm64 and riscv64 have no epoll_wait.
	var r uintptr
	var errno unix.Errno
	if timeout == 0 {
		r, _, errno = unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(k.epfd),
			uintptr(unsafe.Pointer(&evs[0])), uintptr(len(evs)), 0, 0, 0)
	} else {
		r, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(k.epfd),
			uintptr(unsafe.Pointer(&evs[0])), uintptr(len(evs)), uintptr(millis(timeout.Sub(0))), 0, 0)
	}
	return int(r), errno
}

func tokenOf(ev *unix.EpollEvent) token {
	return token(uint32(ev.Pad))<<32 | token(uint32(ev.Fd))
}

func (e *epoll) dispatch(t token, events uint32) {
	l := e.l
	switch t.source() {
	case sourceConn:
		if c := l.conns.get(t.slot(), t.gen()); c != nil {
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
		if ln := l.listeners.get(t.slot(), t.gen()); ln != nil {
			ln.backlog = true
			ln.accept()
			return
		}
	case sourceWatch:
		if w := l.watches.get(t.slot(), t.gen()); w != nil {
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
