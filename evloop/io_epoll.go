// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The epoll back end. It serves every descriptor, or, if there is a ring, all
// that the ring does not.
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

// end closes c's descriptor, which is taken out of epoll first: epoll watches
// the open file description. If another process holds that too, events would go
// on for a number that is no longer ours.
func (e *epoll) end(c *Conn) {
	if c.flags&flagDetached != 0 {
		e.l.sys.epollDel(int(c.fd))
		return
	}
	e.l.sys.close(int(c.fd), c.flags&flagReset != 0 && c.kind&kindTCP != 0)
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
	c.edge &^= edgeArmed | edgeStuck
	e.modify(c)
}

// modify replaces the mask of c.
func (e *epoll) modify(c *Conn) {
	if err := e.l.sys.epollMod(int(c.fd), interest(c), newToken(sourceConn, c.slot, c.gen)); err != nil {
		c.fail(err)
	}
}

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
		if events&hangup != 0 {
			e.hungUp(c) // nobody is left to flush to
		}
	case c.flags&flagReady != 0: // the ready list serves it, so that it has one budget
	case events&hangup != 0 && e.l.Spent():
		c.makeReady() // connections that live come first
	default:
		e.receive(c)
	}
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

func tokenOf(ev *unix.EpollEvent) token {
	return token(uint32(ev.Pad))<<32 | token(uint32(ev.Fd))
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
