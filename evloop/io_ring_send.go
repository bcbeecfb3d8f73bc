// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"penstock/evloop/internal/uring"
)

// A batch is the sends of one io_uring_enter. Short output is copied into memory
// that is not Go's, next to that of others, and a line that goes to many is
// copied once; long output is sent from where it lies, pinned for the call.
// Pinning everything would be a search in the heap's tables for each line.
type batch struct {
	sends  []send
	arena  []byte // mapped
	used   int
	most   int // bytes of the arena to use: all, unless a test leaves less
	pinner runtime.Pinner

	shared *Message // the last message that was copied whole
	at     int      // where the copy of shared begins
}

// A send is one request of the batch.
type send struct {
	c          *Conn
	total, res int32
}

const (
	arenaSize = 256 << 10
	// copyMost is the longest output that is copied: below it a copy costs
	// less than a pin and an iovec.
	copyMost = 2 << 10
	// iovecsSize is the most that a gathered send takes of the arena.
	iovecsSize = int(unsafe.Sizeof(uring.Msghdr{})) + maxVectors*int(unsafe.Sizeof(uring.Iovec{}))
)

func (b *batch) open() (err error) {
	b.most = arenaSize
	b.arena, err = unix.Mmap(-1, 0, arenaSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	return os.NewSyscallError("mmap", err)
}

// close is called after the ring is closed. If the ring has failed, some sends
// have no result yet, and their memory is still pinned.
func (b *batch) close() {
	b.pinner.Unpin()
	_ = unix.Munmap(b.arena)
}

// done notes the result of a send.
func (b *batch) done(number uint32, res int32) {
	if int(number) < len(b.sends) {
		b.sends[number].res = res
	}
}

// full reports whether the next send may find no room.
func (b *batch) full() bool { return b.used+max(copyMost, iovecsSize)+8 > b.most }

// take returns the offset of n aligned bytes of the arena.
func (b *batch) take(n int) int {
	at := (b.used + 7) &^ 7
	b.used = at + n
	return at
}

func (b *batch) addr(at int) uint64 { return uint64(uintptr(unsafe.Pointer(&b.arena[at]))) }

// fill makes e a request that sends pieces, total bytes in all. m is the
// shared message of which pieces are the whole, or nil.
func (b *batch) fill(e *uring.SQE, pieces [][]byte, total int, m *Message) {
	e.OpFlags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL
	e.Opcode, e.Len = uring.OpSend, uint32(total)
	switch {
	case m != nil && m == b.shared:
		e.Addr = b.addr(b.at)
	case total <= copyMost:
		at := b.take(total)
		to := b.arena[at:at:arenaSize]
		for _, p := range pieces {
			to = append(to, p...)
		}
		b.shared, b.at = m, at
		e.Addr = b.addr(at)
	case len(pieces) == 1:
		b.pinner.Pin(&pieces[0][0])
		e.Addr = uint64(uintptr(unsafe.Pointer(&pieces[0][0])))
	default:
		e.Opcode, e.Len, e.Addr = uring.OpSendmsg, 1, b.gathered(pieces)
	}
}

// gathered builds a message header for pieces and returns its address.
func (b *batch) gathered(pieces [][]byte) uint64 {
	const size = int(unsafe.Sizeof(uring.Msghdr{}))
	at := b.take(size + len(pieces)*int(unsafe.Sizeof(uring.Iovec{})))
	iov := unsafe.Slice((*uring.Iovec)(unsafe.Pointer(&b.arena[at+size])), len(pieces))
	for i, p := range pieces {
		b.pinner.Pin(&p[0])
		iov[i] = uring.Iovec{Base: uintptr(unsafe.Pointer(&p[0])), Len: uintptr(len(p))}
	}
	*(*uring.Msghdr)(unsafe.Pointer(&b.arena[at])) = uring.Msghdr{
		Iov: uintptr(unsafe.Pointer(&iov[0])), Iovlen: uintptr(len(pieces)),
	}
	return b.addr(at)
}

// reset forgets what the kernel has seen.
func (b *batch) reset() {
	clear(b.sends)
	b.sends, b.used, b.shared = b.sends[:0], 0, nil
	b.pinner.Unpin()
}

// send puts c on the list of output to offer. A full queue is offered at once,
// because a full queue stops the handler or makes it lose messages. Before Run
// nothing can be offered, so all that is queued then is weighed.
func (u *ring) send(c *Conn) (later bool) {
	if !u.serves(c) {
		return u.ep.send(c)
	}
	switch {
	case c.Queued() == 0:
		if c.edge&edgeHeld == 0 {
			u.disarm(c) // the last messages were dropped, not sent
		}
		return false
	case c.edge&edgeStuck != 0:
		return false
	}
	if c.edge&edgeOffered == 0 {
		c.edge |= edgeOffered
		u.out = append(u.out, c)
	}
	if c.flags&flagFull != 0 {
		u.offer()
	}
	return c.edge&edgeOffered != 0 && u.tid != 0
}

// offer offers all output of the list and handles the results.
func (u *ring) offer() {
	if u.tid == 0 || len(u.batch.sends) > 0 {
		return // before Run, the first wait offers it; inside offer, the loop below goes on
	}
	for len(u.out) > 0 && u.failed == nil {
		u.offerSome()
	}
}

// offerSome makes one call with as many sends as it takes.
func (u *ring) offerSome() {
	b := &u.batch
	i := 0
	for ; i < len(u.out) && !b.full(); i++ {
		c := u.out[i]
		if c.state >= stateDead || c.Queued() == 0 || c.stuck() || c.flags&flagBroken != 0 {
			c.edge &^= edgeOffered
			continue
		}
		e := u.r.Next()
		if e == nil {
			break
		}
		c.edge &^= edgeOffered
		total := u.fill(e, c)
		e.FD, e.UserData = c.fd, uint64(newTag(opSend, uint32(len(b.sends)), 0))
		b.sends = append(b.sends, send{c: c, total: int32(total), res: -int32(unix.EINTR)})
	}
	rest := copy(u.out, u.out[i:])
	clear(u.out[rest:])
	u.out = u.out[:rest]
	u.submit()
	if u.failed != nil {
		return
	}
	u.l.enter()
	u.results()
	u.l.leave()
}

// fill makes e a request that sends output of c, and returns how much. A single
// message, which is what a member of a room gets, takes the short way.
func (u *ring) fill(e *uring.SQE, c *Conn) (total int) {
	q, b := c.out, &u.batch
	u.ep.narrow(c)
	if q.head != q.tail || q.head == 0 {
		pieces, total := u.ep.collect(c)
		b.fill(e, pieces, total, nil)
		u.ep.clearPieces(c, pieces)
		return total
	}
	n := &u.l.nodes.nodes[q.head-1]
	m := n.m
	if q.off > 0 || !m.shared() {
		m = nil
	}
	piece := [1][]byte{n.data()[q.off:]}
	b.fill(e, piece[:], len(piece[0]), m)
	return len(piece[0])
}

// results handles the result of each send. No callback runs meanwhile.
func (u *ring) results() {
	l, b := u.l, &u.batch
	for i := range b.sends {
		s := &b.sends[i]
		c := s.c
		if c.state >= stateDead {
			continue
		}
		switch errno := unix.Errno(-s.res); {
		case s.res >= 0:
			l.sent(c, int(s.res))
			if s.res < s.total {
				u.awaitRoom(c)
			}
		case errno == unix.EAGAIN:
			u.awaitRoom(c)
		case errno != unix.EINTR:
			l.sendFailed(c, os.NewSyscallError("send", errno))
		}
		if c.state >= stateDead {
			continue
		}
		if c.Queued() > 0 {
			if c.edge&(edgeStuck|edgeOffered) == 0 && c.flags&flagBroken == 0 {
				c.edge |= edgeOffered // more pieces than one send takes
				u.out = append(u.out, c)
			}
		} else {
			u.disarm(c)
		}
		l.afterSend(c)
	}
	b.reset()
}

// awaitRoom has epoll report when the kernel takes more. If there is room
// already, epoll says so at once. The registration stays until the queue is
// empty: after a short send another edge comes.
func (u *ring) awaitRoom(c *Conn) {
	s := &u.intakes[c.slot]
	c.edge |= edgeStuck
	if err := u.watch(c, s, watchRoom); err != nil {
		c.fail(err)
	}
}

// disarm ends the wait for room: nothing is queued any more.
func (u *ring) disarm(c *Conn) {
	c.edge &^= edgeStuck
	s, k := &u.intakes[c.slot], &u.l.sys
	switch {
	case s.watch != watchRoom:
	case c.flags&flagEOF == 0:
		s.watch = watchNone
		k.epollDel(int(c.fd))
	default:
		s.watch = watchGone
		if err := k.epollMod(int(c.fd), edgeTriggered, newToken(sourceConn, c.slot, c.gen)); err != nil {
			c.fail(err)
		}
	}
}

// watch registers c with epoll for what, if it is not already.
func (u *ring) watch(c *Conn, s *intake, what watchFor) error {
	if s.watch >= what {
		return nil
	}
	mask := uint32(edgeTriggered)
	if what == watchRoom {
		mask |= unix.EPOLLOUT
	}
	t, k := newToken(sourceConn, c.slot, c.gen), &u.l.sys
	var err error
	if s.watch == watchNone {
		err = k.epollAdd(int(c.fd), mask, t)
	} else {
		err = k.epollMod(int(c.fd), mask, t)
	}
	if err == nil {
		s.watch = what
	}
	return err
}

// react serves what epoll reports of a connection of the ring: room, and the
// end of both directions.
func (u *ring) react(c *Conn, events uint32) {
	if events&hangup != 0 {
		c.edge |= edgeHup
	}
	if c.edge&edgeStuck != 0 && events&(unix.EPOLLOUT|hangup) != 0 {
		c.edge &^= edgeStuck
		if c.out.bytes > 0 {
			u.send(c)
			return
		}
	}
	if events&hangup != 0 && (c.flags&flagEOF != 0 || c.state == stateFlushing && !c.sentFIN()) {
		u.ep.hungUp(c)
	}
}
