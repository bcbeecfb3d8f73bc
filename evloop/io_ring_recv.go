// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"penstock/evloop/internal/uring"
)

// An intake is what the ring remembers of a connection's input.
//
//	         stage            data while it may not be read
//	idle ─► staged ─► armed ─────────────────────► cancelled
//	  ▲                 │ FIN, error, no buffer        │ the last completion
//	  └─────────────────┴──────────────────────────────┘
//
// A multishot receive goes on when the handler has had enough. What it brings
// then is held, outside the shared buffers, and the receive is cancelled. To
// keep that little, the first receive is a single one. Only a connection whose
// first receive brings less than a buffer is light: it gets a multishot
// receive. If it then brings bulkMin in one turn, or more than may be
// delivered, it is bulk. When what was held has been delivered, a bulk
// connection is given to epoll and stays there: epoll reads more at once and
// leaves the rest in the socket.
type intake struct {
	held     []byte // from the pool; nil when there is none
	off      int    // of it delivered
	turn     uint64 // the last turn in which something was delivered
	taken    int    // bytes delivered in that turn
	end      int32  // what ended the input: 0 nothing yet, 1 FIN, an errno negated
	receives recvState
	light    bool // its receives are multishot
	bulk     bool // it is to be left to epoll
	watch    watchFor
}

type recvState uint8

const (
	recvIdle recvState = iota
	recvStaged
	recvArmed
	recvCancelled
)

// watchFor is what a connection is registered with epoll for.
type watchFor uint8

const (
	watchNone watchFor = iota
	watchGone          // the end of both directions, after the peer's FIN
	watchRoom          // room to send, and the end of both directions
)

const (
	endFIN = 1
	// bulkMin is some buffers: below it one large read would not be cheaper.
	bulkMin = 8 * ringBuffer
)

// stageReceive asks for a receive, which the next io_uring_enter starts.
func (u *ring) stageReceive(c *Conn) {
	u.intakes[c.slot].receives = recvStaged
	u.todo = append(u.todo, newTag(opRecv, c.slot, c.gen))
}

// wants reports whether input may be passed on now.
func wants(c *Conn) bool {
	switch c.state {
	case stateOpen: // what was kept comes before new bytes
		return c.mayRead() && c.flags&(flagReplay|flagDrained) == 0
	case stateLingering:
		return true
	}
	return false
}

// completed serves a completion of c's receive, and those that follow it
// directly.
func (u *ring) completed(t tag, ev uring.CQE, n int) {
	c := u.conn(t)
	if c == nil || c.state >= stateDead {
		u.discard(ev)
		if c == nil && ev.Res >= 0 {
			u.l.stats.StaleEvents++
		}
		return
	}
	got, holding := u.take(c, ev, n)
	u.classify(c, got)
	u.deliver(c, got)
	if holding {
		u.l.enter()
		u.l.collectDebt()
		u.l.leave()
	}
	if s := &u.intakes[c.slot]; c.state == stateFlushing && s.end != 0 {
		u.deaf(c)
		return
	}
	u.receive(c)
}

// take puts the bytes of a completion, and of those up to event n that follow it
// directly, behind the kept input, and returns how many they are: a flood then
// comes in one Data, as from one large read. What may not be delivered now is
// held, which take reports.
func (u *ring) take(c *Conn, ev uring.CQE, n int) (got int, holding bool) {
	s := &u.intakes[c.slot]
	budget := u.budget(s)
	keep := -1 // in rbuf: nothing yet
	for t := ev.UserData; ; {
		if ev.Flags&uring.FlagMore == 0 {
			s.receives = recvIdle
			// It stays set until the next receive is staged: a connection that
			// begins to linger is served only if it is set.
			c.edge |= edgeReadable
		}
		switch {
		case ev.Res <= 0:
			u.ended(c, s, ev)
		case s.held == nil && s.end == 0 && wants(c) && got+int(ev.Res) <= budget:
			if keep < 0 {
				keep = u.l.recall(c)
			}
			id, _ := ev.Buffer()
			got += copy(u.l.rbuf[keep+got:keep+readSize], u.r.Bytes(id, int(ev.Res)))
			u.r.Return(id)
		default:
			u.hold(c, s, ev)
			holding = true
		}
		if u.at == n || u.events[u.at].UserData != t || got+ringBuffer > readSize {
			return got, holding
		}
		ev = u.events[u.at]
		u.at++
	}
}

// deaf serves the end of the input of a connection that is flushing. A FIN
// waits until the flushing is done, unless the peer does not read any more
// either.
func (u *ring) deaf(c *Conn) {
	switch end := u.intakes[c.slot].end; {
	case end != endFIN:
		u.finish(c, end)
	case !c.sentFIN() && u.polls(c)&(unix.POLLHUP|unix.POLLERR) != 0:
		u.ep.hungUp(c)
	}
}

// budget returns how much more of a stream may be delivered in this turn.
func (u *ring) budget(s *intake) int {
	if s.turn != u.turn {
		s.turn, s.taken = u.turn, 0
	}
	return u.l.readBudget - s.taken
}

// deliver passes n bytes that were put behind the kept input.
func (u *ring) deliver(c *Conn, n int) {
	if n == 0 || c.state >= stateDead {
		return
	}
	u.intakes[c.slot].taken += n
	if c.state != stateLingering { // a lingering connection discards its input
		u.l.received(c, n)
	}
}

// discard gives back the buffer of a completion that nobody wants.
func (u *ring) discard(ev uring.CQE) {
	if id, ok := ev.Buffer(); ok {
		u.r.Return(id)
	}
}

// ended notes why a receive has brought nothing. A receive that was cancelled,
// or found no buffer, has not ended the input. Older kernels report a missing
// buffer for a cancelled receive.
func (u *ring) ended(c *Conn, s *intake, ev uring.CQE) {
	u.discard(ev)
	switch unix.Errno(-ev.Res) {
	case unix.ENOBUFS, unix.ECANCELED, unix.EINTR, unix.EAGAIN:
		return
	case 0:
		if s.end == 0 {
			s.end = endFIN
		}
	default:
		s.end = ev.Res
	}
	c.edge |= edgeReadable
}

// hold keeps bytes that may not be delivered now and stops the receive.
func (u *ring) hold(c *Conn, s *intake, ev uring.CQE) {
	id, _ := ev.Buffer()
	l := u.l
	p := u.r.Bytes(id, int(ev.Res))
	if have := len(s.held); cap(s.held)-have < len(p) {
		b := append(l.pool.get(max(2*(have+len(p)), 8<<10)), s.held...)
		l.pool.put(s.held)
		u.holds(c, s, b)
	}
	s.held = append(s.held, p...)
	u.r.Return(id)
	c.edge |= edgeReadable
	u.stop(c, s)
}

// stop marks the connection as bulk and cancels its receive.
func (u *ring) stop(c *Conn, s *intake) {
	s.bulk = true
	if s.receives == recvArmed {
		s.receives = recvCancelled
		u.todo = append(u.todo, newTag(opCancel, c.slot, c.gen))
	}
}

// classify decides whether c is light or bulk, by n bytes that came in one
// piece.
func (u *ring) classify(c *Conn, n int) {
	s := &u.intakes[c.slot]
	switch {
	case n == 0:
	case !s.light && n < ringBuffer:
		s.light = true
	case !s.light || s.taken+n >= bulkMin:
		u.stop(c, s)
	}
}

// handOver moves c to epoll, where it stays. No receive of c may be under way.
// If c waits for room it goes on waiting: ADD reports room that is already
// there.
func (u *ring) handOver(c *Conn, s *intake) {
	if s.watch != watchNone {
		u.l.sys.epollDel(int(c.fd))
	}
	*s = intake{}
	c.edge |= edgeBulk
	if c.edge&edgeStuck != 0 {
		c.edge |= edgeArmed
	}
	u.l.enter()
	if c.edge&edgeOffered != 0 {
		c.edge &^= edgeOffered
		u.out = slices.DeleteFunc(u.out, func(o *Conn) bool { return o == c })
		c.makeDirty()
	}
	if err := u.ep.register(c); err != nil {
		c.fail(err)
	}
	u.l.leave()
}

// holds replaces the buffer of what is held and charges c for it.
func (u *ring) holds(c *Conn, s *intake, b []byte) {
	u.l.queued += int64(cap(b) - cap(s.held))
	s.held, c.held = b, uint32(cap(b))
	u.l.weigh(c)
}

// release forgets what was held.
func (u *ring) release(c *Conn) {
	if c.held == 0 {
		return
	}
	s := &u.intakes[c.slot]
	b := s.held
	u.holds(c, s, nil)
	u.l.pool.put(b)
	s.off = 0
}

// receive delivers what was held, within the budget, and then goes on
// receiving.
func (u *ring) receive(c *Conn) {
	if !u.serves(c) {
		u.ep.receive(c)
		return
	}
	for c.flags&flagEOF == 0 && wants(c) {
		s := &u.intakes[c.slot]
		if s.held == nil {
			u.goOn(c, s)
			return
		}
		n := min(len(s.held)-s.off, readSize, u.budget(s))
		if n <= 0 {
			c.makeReady()
			return
		}
		keep := u.l.recall(c)
		copy(u.l.rbuf[keep:], s.held[s.off:s.off+n])
		if s.off += n; s.off == len(s.held) {
			u.release(c)
		}
		u.deliver(c, n)
	}
}

// goOn is called when every byte that has come is delivered. It serves the end
// of the input, or asks for another receive.
func (u *ring) goOn(c *Conn, s *intake) {
	switch {
	case s.end != 0:
		u.finish(c, s.end)
	case c.flags&flagBroken != 0 && u.r.Overflowed():
		c.makeReady() // completions that overflowed may be of c
	case c.flags&flagBroken != 0 && !u.more(c):
		u.l.broken(c, c.reason()) // all that came before the failure is delivered
	case s.receives == recvIdle && s.bulk && u.budget(s) < u.l.readBudget:
		c.makeReady() // epoll would begin with a budget of its own
	case s.receives == recvIdle && s.bulk:
		u.handOver(c, s)
	case s.receives == recvIdle:
		c.edge &^= edgeReadable
		u.stageReceive(c)
	default:
		c.edge &^= edgeReadable
	}
}

// finish reports the end of the input.
func (u *ring) finish(c *Conn, end int32) {
	if end != endFIN {
		u.l.broken(c, os.NewSyscallError("recv", unix.Errno(-end)))
		return
	}
	c.edge &^= edgeReadable
	gone := u.polls(c)&(unix.POLLHUP|unix.POLLERR) != 0
	u.l.ended(c, gone)
	if c.state >= stateDead {
		return
	}
	if err := u.watch(c, &u.intakes[c.slot], watchGone); err != nil {
		u.l.broken(c, err)
	}
}

// more reports whether there is input that the receive has brought, or is about
// to bring.
func (u *ring) more(c *Conn) bool { return u.polls(c) != 0 || u.came(c) }

// pending also looks at input that has left the kernel. What is held of a
// connection that was paused waits for the ready list.
func (u *ring) pending(c *Conn, what news) bool {
	if what == newsInput && u.serves(c) && (c.held > 0 || u.r.Overflowed() || u.came(c)) {
		return true
	}
	return u.ep.pending(c, what)
}

// came reports whether there is a completion of c's receive to serve.
func (u *ring) came(c *Conn) bool {
	t := newTag(opRecv, c.slot, c.gen)
	return slices.ContainsFunc(u.events[u.at:], func(ev uring.CQE) bool { return tag(ev.UserData) == t })
}

// polls asks poll(2) about c's input.
func (u *ring) polls(c *Conn) int16 { return u.l.sys.poll(c.fd, unix.POLLIN|unix.POLLRDHUP) }
