// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// The epoll back end. It serves every descriptor, or, if there is a ring, all
// that the ring does not.
//
// A connection is registered once, for IN, RDHUP and ET. The edge is
// remembered as edgeReadable until a read finds nothing more, so stopping
// early (budget, pause) loses no event. OUT is added only when the kernel
// took less than it was offered and removed when the queue is empty; a MOD
// reports a condition that already holds, so room that appeared in between is
// not missed. Level-triggered, a paused connection would need two MODs and a
// hung-up one would spin; OUT registered for good would come with every IN.
//
//	           short send: MOD +OUT
//	disarmed ───────────────────────► armed
//	    ▲                               │ OUT: send until EAGAIN or empty
//	    └───────────────────────────────┘
//	           queue empty: MOD −OUT
type epoll struct {
	l      *Loop
	ring   *ring // which serves stream sockets in place of this; nil: none does
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

// open registers c. ADD reports at once what is there already, and so it reports
// room for the output of one that was restored.
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
	return e.l.sys.epollAdd(int(c.fd), interest(c), newToken(kindConn, c.slot, c.gen))
}

// end closes c's descriptor, which is taken out of epoll first: epoll follows
// the open file description, and one that another process holds too would go
// on reporting a number that is ours no longer.
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
	if c.edge&edgeArmed != 0 {
		c.edge &^= edgeArmed | edgeStuck
		e.modify(c)
	}
}

// modify replaces the mask of c.
func (e *epoll) modify(c *Conn) {
	if err := e.l.sys.epollMod(int(c.fd), interest(c), newToken(kindConn, c.slot, c.gen)); err != nil {
		c.fail(err)
	}
}

// wait gathers events, for at most timeout (negative: for ever), and serves
// them. It asks without sleeping first, by a raw call: a busy loop never pays
// for the scheduler. Only then it lets other goroutines run, and sleeps in a
// call that the scheduler knows of. Sleeping in a raw call would be cheaper
// still and would stop the world at the first garbage collection. An interrupted
// sleep may have been long (SIGSTOP), so what has come is served before anything
// expires.
func (e *epoll) wait(timeout Time) error {
	n, errno := e.l.sys.epollWait(e.events[:e.l.work.events], 0)
	slept := Time(0)
	if n == 0 && errno == 0 && timeout != 0 {
		runtime.Gosched()
		slept = timeout
		n, errno = e.l.sys.epollWait(e.events[:e.l.work.events], timeout)
	}
	for errno == unix.EINTR {
		n, errno = e.l.sys.epollWait(e.events[:e.l.work.events], 0)
	}
	e.l.awake(slept)
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
	switch t.kind() {
	case kindConn:
		if c := l.conns.get(t.slot(), t.gen()); c != nil {
			if events == unix.EPOLLOUT && l.Spent() {
				c.edge &^= edgeStuck
				c.flags |= flagRoom // a thousand full queues may get room at once
				c.makeReady()
				return
			}
			e.ready(c, events)
			return
		}
	case kindListener:
		if ln := l.listeners.get(t.slot(), t.gen()); ln != nil {
			ln.backlog = true
			ln.accept()
			return
		}
	case kindWatch:
		if w := l.watches.get(t.slot(), t.gen()); w != nil {
			l.enter()
			w.h.Ready(w, events)
			l.leave()
			return
		}
	case kindWake:
		return // the list is looked at in every turn
	}
	l.stats.StaleEvents++
}

// ready serves one event of c: output first, because it frees memory.
func (e *epoll) ready(c *Conn, events uint32) {
	if c.state >= stateDead {
		return
	}
	if r := e.ring; r != nil && r.serves(c) {
		r.ready(c, events)
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
	case c.mayRead() || c.state == stateLingering:
		switch {
		case c.flags&flagReady != 0: // it is served from that list, within one budget
		case events&hangup != 0 && e.l.Spent():
			c.makeReady() // connections that live come first
		default:
			e.receive(c)
		}
	case c.state == stateFlushing && events&hangup != 0:
		e.hungUp(c) // nobody is left to flush to
	}
}

// receive reads from c until there is nothing more, its budget for this turn
// is used up or the handler wants no more.
func (e *epoll) receive(c *Conn) {
	l := e.l
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

// read follows one system call that asked for size bytes and reports whether
// there may be more.
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
	if c.state != stateLingering { // then bytes are discarded
		l.received(c, n)
	}
	return true
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
		e.forget(c, pieces)
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
	e.disarm(c)
}

// pending asks poll(2): an edge that is spent is not reported again.
func (e *epoll) pending(c *Conn, what news) bool {
	e.l.work.left -= callWork
	return e.l.sys.poll(c.fd, int16(what)) != 0
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

// forget lets go of what collect returned, which would keep messages alive.
func (e *epoll) forget(c *Conn, pieces [][]byte) {
	if e.l.gather.c != c {
		clear(pieces)
	}
}
