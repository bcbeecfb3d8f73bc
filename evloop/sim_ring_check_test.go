// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"golang.org/x/sys/unix"

	"penstock/evloop/internal/uring"
)

// Invariants of the ring between two turns, from the inside of both its ends.

// ringed reports whether the ring serves c, and not epoll.
func (w *simWorld) ringed(c *Conn) bool { return ringOf(w.l) != nil && ringOf(w.l).serves(c) }

// heldBy returns the bytes of buffers in which the ring holds input of c.
func (w *simWorld) heldBy(c *Conn) int64 {
	if !w.ringed(c) {
		return 0
	}
	n := cap(ringOf(w.l).intakes[c.slot].held)
	if n != int(c.held) {
		w.fail(c.held, "bytes charged for", n, "that are held")
	}
	return int64(n)
}

// checkBuffers: each buffer is the kernel's, or in a completion that the loop
// has yet to serve, or about to be the kernel's.
func (w *simWorld) checkBuffers() {
	u := w.k.ring
	out := -u.q.Unpublished()
	for _, away := range u.out {
		if away {
			out++
		}
	}
	count := func(ev uring.CQE) {
		if id, ok := ev.Buffer(); ok {
			if out--; !u.out[id] {
				w.fail("buffer", id, "is in a completion and with the kernel")
			}
		}
	}
	u.completions(ringOf(w.l), count)
	if out != 0 {
		w.fail(out, "buffers were never given back")
	}
}

// checkReceive: there is one receive for c, or somebody will make it, or c
// wants none.
func (w *simWorld) checkReceive(c *Conn, f *simFile, ready bool) {
	u, m := ringOf(w.l), c.State.(*simConn)
	s := &u.intakes[c.slot]
	t := newTag(opRecv, c.slot, c.gen)
	live, coming := w.k.ring.find(u, t)
	staged := 0
	for _, o := range u.todo {
		if o == t {
			staged++
		}
	}
	wanted := wants(c) && c.flags&flagEOF == 0 && !ready
	switch {
	case m.fresh > w.l.readBudget:
		w.fail(f, "was shown", m.fresh, "bytes in one turn")
	case live > 1 || (live == 1) != (s.receives >= recvArmed):
		w.fail(f, "has", live, "receives under way in state", s.receives)
	case staged > 1 || (staged == 1) != (s.receives == recvStaged):
		w.fail(f, "has", staged, "receives to be staged in state", s.receives)
	case wanted && s.held != nil:
		w.fail(f, "has held input that nobody will show")
	case wanted && s.end != 0 && !coming:
		w.fail(f, "has ended and nobody will say so")
	case wanted && s.receives == recvIdle:
		w.fail(f, "has no receive", c.state, c.flags, *s)
	case c.flags&flagBroken != 0 && c.mayRead() && !ready && !coming && !f.sock.hasInput():
		w.fail(f, "takes no output and lives on")
	}
}

// find counts the receives of tag t that the kernel has or will have taken,
// up to the completion that is the last, and reports whether one is coming.
func (u *simRing) find(r *ring, t tag) (live int, coming bool) {
	for i := range r.r.Staged() {
		if e := u.q.Peek(i); tag(e.UserData) == t {
			live++
		}
	}
	for _, list := range [][]*simRequest{u.pending, u.late} {
		for _, p := range list {
			if tag(p.UserData) == t {
				live++
			}
		}
	}
	count := func(ev uring.CQE) {
		if tag(ev.UserData) != t {
			return
		}
		coming = true
		if ev.Flags&uring.FlagMore == 0 {
			live++
		}
	}
	u.completions(r, count)
	return live, coming
}

// checkSend: queued output is on the list of what to offer, or waits for room
// of which epoll will tell.
func (w *simWorld) checkSend(c *Conn, f *simFile) {
	s := &ringOf(w.l).intakes[c.slot]
	room := f.mask&unix.EPOLLOUT != 0
	armed, offered := c.edge&edgeStuck != 0, c.edge&edgeOffered != 0
	listed := 0
	for _, o := range ringOf(w.l).out {
		if o == c {
			listed++
		}
	}
	switch {
	case f.registered != (s.watch != watchNone) || room != (s.watch == watchRoom):
		w.fail(f, "is registered:", f.registered, "with mask", f.mask, "and watched for", s.watch)
	case listed > 1 || offered != (listed == 1):
		w.fail(f, "is", listed, "times on the list of output to offer")
	case armed && !room:
		w.fail(f, "waits for room that nobody will report")
	case c.out.bytes == 0 && (armed || room):
		w.fail(f, "waits for room and has nothing to send")
	case c.out.bytes > 0 && !armed && !offered && c.flags&(flagBroken|flagRoom) == 0:
		w.fail(f, "has", c.out.bytes, "bytes of output that nobody will offer")
	case c.out.bytes > 0 && armed && !offered && f.holds()&unix.EPOLLOUT != 0 && !f.queued && c.flags&flagRoom == 0:
		w.fail(f, "has room that is forgotten")
	}
}

// checkRequests: when the loop is closed, the kernel has no request of it left except
// the poll, which ends with the ring.
func (w *simWorld) checkRequests() {
	for _, r := range w.k.ring.pending {
		w.fail(r.f, "is still received from")
	}
}

// completions passes all that the loop has not served yet: taken by the ring,
// in its queue, and kept by the kernel for want of room there.
func (u *simRing) completions(r *ring, count func(uring.CQE)) {
	for _, ev := range r.events[r.at:] {
		count(ev)
	}
	for _, c := range u.unread {
		count(c.CQE)
	}
	for _, c := range u.overflow {
		count(c.CQE)
	}
}
