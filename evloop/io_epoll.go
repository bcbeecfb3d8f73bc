// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// The epoll back end. Everything about readiness stays in this file: the rest
// of the package speaks of bytes that came and bytes that must go.
//
// A connection is registered once, for IN, RDHUP and ET. The edge is
// remembered as flagReadable until a read finds nothing more, so stopping
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
	k      kernel
	l      *Loop
	events [256]unix.EpollEvent
	most   int // of these in one call: all of them, unless a test leaves fewer
	pieces [maxVectors][]byte
}

const (
	edge         = unix.EPOLLET & 0xffffffff // negative in x/sys on some architectures
	interestRead = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLPRI | edge
	hangup       = unix.EPOLLHUP | unix.EPOLLERR
	// marks are events after which a short read does not mean drained: behind
	// the bytes stands a FIN, or urgent data, at whose mark recv stops.
	marks = unix.EPOLLRDHUP | unix.EPOLLPRI | hangup
)

func newEpoll(l *Loop, sim *simulation) (*epoll, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	return &epoll{k: kernel{epfd: fd, sim: sim}, l: l, most: len(epoll{}.events)}, nil
}

func (e *epoll) close() { unix.Close(e.k.epfd) }

// interest returns the mask of c as it should stand. A write-only end has
// nothing to read; the kernel reports its ERR unasked.
func interest(c *Conn) uint32 {
	mask := uint32(edge)
	if c.kind.reads() {
		mask = interestRead
	}
	if c.flags&flagArmed != 0 {
		mask |= unix.EPOLLOUT
	}
	return mask
}

// open registers c. ADD reports at once what is there already.
func (e *epoll) open(c *Conn) error {
	if c.kind&(kindUnix|kindPacket) == kindUnix && e.k.refuseRights(int(c.fd)) {
		c.flags |= flagNoRights
	}
	return e.k.epollAdd(int(c.fd), interest(c), newToken(kindConn, c.slot, c.gen))
}

// end closes c's descriptor, which is taken out of epoll first: epoll follows
// the open file description, and one that another process holds too would go
// on reporting a number that is ours no longer.
func (e *epoll) end(c *Conn) {
	if c.flags&flagDetached != 0 {
		e.k.epollDel(int(c.fd))
		return
	}
	e.k.close(int(c.fd), c.flags&flagReset != 0 && c.kind&kindTCP != 0)
}

// arm sets whether c waits for room.
func (e *epoll) arm(c *Conn, on bool) {
	if on == (c.flags&flagArmed != 0) {
		return
	}
	c.flags ^= flagArmed
	if err := e.k.epollMod(int(c.fd), interest(c), newToken(kindConn, c.slot, c.gen)); err != nil {
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
	n, errno := e.k.epollWait(e.events[:e.most], 0)
	slept := Time(0)
	if n == 0 && errno == 0 && timeout != 0 {
		runtime.Gosched()
		slept = timeout
		n, errno = e.k.epollWait(e.events[:e.most], timeout)
	}
	for errno == unix.EINTR {
		n, errno = e.k.epollWait(e.events[:e.most], 0)
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
	e.l.work.crowded = n == e.most
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
		n, errno = e.k.epollWait(e.events[:e.most], 0)
	}
	if errno != 0 {
		return false, os.NewSyscallError("epoll_pwait", errno)
	}
	e.dispatchAll(n)
	return n == e.most, nil
}

func (e *epoll) dispatch(t token, events uint32) {
	l := e.l
	switch t.kind() {
	case kindConn:
		if c := l.conns.get(t.slot(), t.gen()); c != nil {
			if events == unix.EPOLLOUT && l.Spent() {
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
			e.accept(ln)
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
	if r := e.l.ring; r != nil && r.serves(c) {
		r.ready(c, events)
		return
	}
	if events&hangup != 0 {
		c.flags |= flagHup
	}
	if events&(unix.EPOLLOUT|hangup) != 0 && c.flags&flagArmed != 0 {
		e.l.enter()
		e.flushArmed(c)
		e.l.leave()
	}
	if events&(unix.EPOLLIN|marks) == 0 || c.state >= stateDead {
		return
	}
	c.flags |= flagReadable
	if events&marks != 0 {
		c.flags |= flagMark
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

// flushArmed goes on with a queue that the kernel had no room for.
func (e *epoll) flushArmed(c *Conn) {
	e.send(c)
	if c.state < stateDead {
		e.l.settled(c)
	}
}

// receive reads from c until there is nothing more, its budget for this turn
// is used up or the handler wants no more.
func (e *epoll) receive(c *Conn) {
	l := e.l
	if !c.kind.reads() || c.flags&flagEOF != 0 {
		if c.flags&flagHup != 0 {
			e.hungUp(c)
		}
		return
	}
	for budget := l.readBudget; c.flags&flagReadable != 0 && (c.mayRead() || c.state == stateLingering); {
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
		n, mark, errno := e.k.recv(c, room)
		if mark {
			c.flags |= flagMark
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
		c.flags &^= flagReadable
		if c.flags&flagBroken != 0 {
			l.broken(c, c.reason) // all that came before the failure is delivered
		} else if c.flags&flagHup != 0 {
			e.hungUp(c)
		}
		return false
	case errno == unix.EIO && c.kind&kindTerminal != 0:
		l.ended(c, true) // the other side of the terminal is gone
		return false
	case errno != 0:
		l.broken(c, os.NewSyscallError("recv", errno))
		return false
	case n == 0 && !c.kind.isStream() && !e.k.finished(c):
		return true // an empty packet
	case n == 0:
		l.ended(c, c.flags&flagHup != 0 || !c.kind.writes())
		return false
	case n > size && c.state != stateLingering:
		l.broken(c, ErrTruncated)
		return false
	}
	if n < size && c.kind.shortMeansDrained() && c.flags&flagMark == 0 {
		c.flags &^= flagReadable // before the handler runs: its reply may bring the next edge
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
		if errno := e.k.socketErr(int(c.fd)); errno != 0 {
			err = os.NewSyscallError("recv", errno)
		}
	} else if !c.kind.reads() {
		err = os.NewSyscallError("write", unix.EPIPE) // a pipe without readers
	}
	e.l.broken(c, err)
}

// send offers the kernel what c has to send until it is all gone or the
// kernel takes no more; then OUT is armed.
func (e *epoll) send(c *Conn) {
	for sends := 0; c.Queued() > 0; sends++ {
		if sends > 0 {
			e.l.work.left -= callWork // a packet goes alone, and a queue may have many
		}
		pieces, total := e.collect(c)
		n, errno := e.k.send(c, pieces)
		e.forget(c, pieces)
		switch {
		case errno == unix.EINTR:
			continue
		case errno == unix.EAGAIN:
			e.arm(c, true)
			return
		case errno != 0:
			e.l.sendFailed(c, os.NewSyscallError("send", errno))
			return
		}
		e.l.sent(c, n)
		if n < total {
			e.arm(c, true)
			return
		}
	}
	e.arm(c, false)
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

// accept takes a batch of connections from ln.
func (e *epoll) accept(ln *Listener) {
	if !ln.mayAccept() {
		return
	}
	e.k.keepNonblock(ln.fd)
	before, last := e.l.stats.Accepted, unix.Errno(0)
	for n := range acceptBatch {
		if n >= fewestAccept && e.l.Spent() {
			break
		}
		fd, peer, errno := e.k.accept(ln.fd)
		if !e.l.accepted(ln, fd, peer, errno) || !ln.mayAccept() {
			return
		}
		last = errno
	}
	if e.l.stats.Accepted == before {
		ln.backOff(os.NewSyscallError("accept4", last)) // the EPERM of a firewall may last for ever
		return
	}
	ln.makeReady()
}
