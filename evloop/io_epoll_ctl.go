// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What few bytes meet on their way through epoll: what it is told of a descriptor, by
// epoll_ctl(2), the wait for room, hang-ups, and descriptors that are no sockets.
//
// OUT is added when the kernel took less than it was offered, and removed when the
// queue is empty. A MOD reports a condition that already holds, so room that appeared
// in between is not missed. An OUT that stays registered would come with every IN.
//
//	           short send: MOD +OUT
//	disarmed ───────────────────────► armed
//	    ▲                               │ OUT: send until EAGAIN or empty
//	    └───────────────────────────────┘
//	           queue empty: MOD −OUT

func newEpoll(l *Loop) (*epoll, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	l.sys.epfd = fd
	return &epoll{l: l, full: readSize}, nil
}

func (e *epoll) close() {
	unix.Close(e.l.sys.epfd)
	e.l.sys.closeConduit()
}

// offer has nothing to do: send puts nothing off.
func (*epoll) offer() {}

// release has nothing to do: what was not delivered is still in the kernel.
func (*epoll) release(*Conn) {}

// interest returns the mask of c as it should stand. A write-only end has
// nothing to read; the kernel reports its ERR unasked.
func interest(c *Conn) uint32 {
	mask := uint32(edgeTriggered)
	if c.kind.reads() {
		mask = interestRead
	}
	if c.edge&edgeArmed != 0 {
		mask |= unix.EPOLLOUT
	}
	return mask
}

// open registers c. ADD reports at once what is there already, also the room
// for output of a connection that was restored.
func (e *epoll) open(c *Conn) error {
	if c.out.bytes > 0 {
		c.edge |= edgeArmed | edgeStuck
	}
	return e.register(c)
}

func (e *epoll) register(c *Conn) error {
	if c.kind&(kindUnix|kindPacket) == kindUnix && e.l.sys.refuseRights(int(c.fd)) {
		c.edge |= edgeNoRights
	}
	return e.l.sys.epollAdd(int(c.fd), interest(c), newToken(sourceConn, c.slot, c.gen))
}

// modify replaces the mask of c.
func (e *epoll) modify(c *Conn) {
	if err := e.l.sys.epollMod(int(c.fd), interest(c), newToken(sourceConn, c.slot, c.gen)); err != nil {
		c.fail(err)
	}
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

// end closes c's descriptor, which is taken out of epoll first: epoll watches
// the open file description. If another process holds that too, events would go
// on for a number that is no longer ours.
func (e *epoll) end(c *Conn) {
	e.flooded = nil
	e.l.sys.close(int(c.fd), c.flags&flagReset != 0 && c.kind&kindTCP != 0)
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

// detach leaves the input in the kernel, where it is.
func (e *epoll) detach(conns []*Conn) error {
	if e.mayRenew(len(conns)) && e.renew() == nil {
		return nil
	}
	for _, c := range conns {
		e.l.sys.epollDel(int(c.fd))
	}
	return nil
}

func (k *kernel) epollAdd(fd int, events uint32, t token) error {
	return k.epollCtl(unix.EPOLL_CTL_ADD, fd, events, t)
}

func (k *kernel) epollMod(fd int, events uint32, t token) error {
	return k.epollCtl(unix.EPOLL_CTL_MOD, fd, events, t)
}

// epollDel ends the registration of a descriptor that lives on.
func (k *kernel) epollDel(fd int) {
	if k.sim != nil {
		k.sim.epollCtl(unix.EPOLL_CTL_DEL, fd, 0, 0)
		return
	}
	unix.EpollCtl(k.epfd, unix.EPOLL_CTL_DEL, fd, nil)
}

func (k *kernel) epollCtl(op, fd int, events uint32, t token) error {
	if k.sim != nil {
		return k.sim.epollCtl(op, fd, events, t)
	}
	// Both words of epoll_data are written: x/sys calls them Fd and Pad on
	// every architecture, and the kernel hands back all 64 bits.
	ev := unix.EpollEvent{Events: events, Fd: int32(uint32(t)), Pad: int32(uint32(t >> 32))}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(k.epfd, op, fd, &ev))
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

// file reads or writes the first n of k.iov on a descriptor that is no socket.
// Any process that shares the open file description can clear O_NONBLOCK, such
// as a shell on its terminal, and the loop must not hang on it. RWF_NOWAIT
// never waits, whatever that flag says. Where the kernel does not know it
// (terminals, pipes before Linux 6.4), O_NONBLOCK is set again and poll(2) is
// asked first.
func (k *kernel) file(c *Conn, call uintptr, n int) (uintptr, unix.Errno) {
	if c.edge&edgeOwn != 0 {
		return k.ownFile(c, call, n)
	}
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
	events := int16(unix.POLLIN)
	if call == unix.SYS_PWRITEV2 {
		events = unix.POLLOUT
	}
	k.keepNonblock(int(c.fd))
	if k.poll(c.fd, events) == 0 {
		return ^uintptr(0), unix.EAGAIN
	}
	r, _, errno := unix.Syscall(plainCall(call), uintptr(c.fd), uintptr(unsafe.Pointer(&k.iov[0])), uintptr(n))
	return r, errno
}

// ownFile is file where nobody else can clear O_NONBLOCK. One piece, which is the rule, is
// read and written without a vector, which the kernel would copy first.
func (k *kernel) ownFile(c *Conn, call uintptr, n int) (uintptr, unix.Errno) {
	v := &k.iov[0]
	switch writes := call == unix.SYS_PWRITEV2; {
	case n > 1:
		return ownCall(c, plainCall(call), unsafe.Pointer(v), uintptr(n))
	case writes:
		return ownCall(c, unix.SYS_WRITE, unsafe.Pointer(v.Base), uintptr(v.Len))
	default:
		return ownCall(c, unix.SYS_READ, unsafe.Pointer(v.Base), uintptr(v.Len))
	}
}

// ownCall goes through the scheduler for a terminal alone, which may have the caller wait
// for its locks.
func ownCall(c *Conn, call uintptr, p unsafe.Pointer, n uintptr) (r uintptr, errno unix.Errno) {
	if c.kind&kindTerminal != 0 {
		r, _, errno = unix.Syscall(call, uintptr(c.fd), uintptr(p), n)
	} else {
		r, _, errno = unix.RawSyscall(call, uintptr(c.fd), uintptr(p), n)
	}
	return r, errno
}

// plainCall is the call that knows no flags.
func plainCall(call uintptr) uintptr {
	if call == unix.SYS_PWRITEV2 {
		return unix.SYS_WRITEV
	}
	return unix.SYS_READV
}
