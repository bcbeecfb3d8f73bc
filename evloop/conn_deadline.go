// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"math"
	"time"
)

// What ends a connection for having done nothing: silence (IdleTimeout),
// output that nobody takes (StallTimeout), and the bounds of flushing and
// lingering.
//
// A connection has one moment in the loop's heap, and only ever brings it
// forward. Activity leaves a mark (lastIn, lastOut), and overdue looks at the
// marks when the moment comes. So a busy connection does not touch the heap.
//
// The peer must not pay for a loop that is late. Two rules see to that:
//
//   - Deadlines run on a clock of their own, which stands still while the loop
//     serves a long turn or oversleeps. A mark is as old as the turn that made
//     it, and the turn may have waited ten seconds for a card.
//   - Before a connection ends, the kernel is asked. After a stop, or with more
//     events than one wait reports, the bytes or the room that were missed lie
//     there already, and their event is on its way.
//
// The alternative, to serve every event before any deadline, would need no
// question. But eight thousand clients that write at once take 32 waits, and in
// some histories new events never cease.
const (
	// lateAfter is how long a turn may take before the clock stands still. A
	// loop that is only busy must still end idle connections.
	lateAfter = 10 * Time(time.Millisecond)
	// looks is how often in a timeout the loop asks the kernel whether output
	// is leaving it: an event comes only when a third of its buffer is free.
	looks = 4
	// never is a deadline that does not come; see Time.Add.
	never = Time(math.MaxInt64)
)

// HoldIdle stops the count of Options.IdleTimeout, or begins it anew. A handler
// holds it while it owes the peer a reply: a peer that waits is not idle.
func (c *Conn) HoldIdle(on bool) {
	c.loop.checkCaller()
	switch held := c.flags&flagOwed != 0; {
	case on == held:
	case on:
		c.flags |= flagOwed
	default:
		c.flags &^= flagOwed
		c.lastIn = c.loop.clock
	}
}

// watchDeadline brings the moment at which overdue looks at c forward to the
// earliest that applies.
func (c *Conn) watchDeadline() {
	at, ok := c.moment()
	if !ok {
		return
	}
	if old, has := c.loop.deadlines.when(c.slot); !has || at < old {
		c.loop.deadlines.set(c.slot, at)
	}
}

// moment returns when to look at the connection next: at its deadline, or
// before that to see what becomes of its output.
func (c *Conn) moment() (at Time, ok bool) {
	if at, ok = c.deadline(); !ok {
		return 0, false
	}
	l := c.loop
	if d := c.opts.StallTimeout; d > 0 && c.out.bytes > 0 {
		at = min(at, l.clock.Add(d/looks))
	}
	if d := c.opts.IdleTimeout; d > 0 && c.flags&flagOnWay != 0 {
		at = min(at, l.clock.Add(d/looks))
	}
	return at, true
}

// deadline returns when the connection will be overdue, as things stand.
func (c *Conn) deadline() (at Time, ok bool) {
	switch d := c.opts.IdleTimeout; {
	case c.state == stateLingering:
		return c.until, true
	case c.state == stateFlushing:
		at, ok = c.until, c.until < never
	case d > 0 && c.mayRead():
		at, ok = max(c.lastIn, c.lastOut).Add(d), true
	}
	if d := c.opts.StallTimeout; d > 0 && c.out.bytes > 0 {
		if s := c.lastOut.Add(d); !ok || s < at {
			at, ok = s, true
		}
	}
	return at, ok
}

// overdue is called when the moment to look at the connection has come: it
// ends it if the deadline has, and the kernel knows of no excuse.
func (c *Conn) overdue() {
	c.lookAtOutput()
	at, ok := c.deadline()
	if !ok {
		return
	}
	if at <= c.loop.clock && !c.excused() {
		c.expired()
		return
	}
	if at, ok := c.moment(); ok {
		c.loop.deadlines.set(c.slot, at)
	}
}

// lookFirst notes what output the kernel has of a connection that was carried
// over, so that the next look can tell whether any has left since.
func (c *Conn) lookFirst() {
	left := c.loop.sys.unsent(int(c.fd))
	c.acked = uint32(c.bytesOut) - uint32(left)
	if left > 0 {
		c.flags |= flagOnWay
	}
}

// lookAtOutput counts output that has left the kernel since the last look as
// progress. The first look at some output cannot tell whether any has left. It
// counts as progress if some is still there: a peer that reads a long reply is
// not idle.
func (c *Conn) lookAtOutput() {
	if c.state == stateLingering || c.acked == uint32(c.bytesOut) && c.flags&flagOnWay == 0 {
		return // all that was sent is through
	}
	c.loop.work.left -= callWork
	left := c.loop.sys.unsent(int(c.fd))
	acked := uint32(c.bytesOut) - uint32(left)
	if acked != c.acked && (left > 0 || c.flags&flagOnWay != 0) {
		c.lastOut = c.loop.clock
	}
	c.acked = acked
	c.flags &^= flagOnWay
	if left > 0 {
		c.flags |= flagOnWay
	}
}

// excused asks the kernel whether the peer was in time and the loop is late, or
// the peer is not the one to move. If so, it gives the connection more time.
func (c *Conn) excused() bool {
	l := c.loop
	switch {
	case c.state == stateLingering:
		// Input that nobody has read would turn the end into a reset. The
		// excuse counts once: a peer can go on sending for ever.
		if c.flags&flagLate != 0 || !l.be.pending(c, newsInput) {
			return false
		}
		c.flags |= flagLate
		c.until = l.clock.Add(lingerTime)
	case c.state == stateFlushing && c.until <= l.clock:
		// Progress alone is none: the time is over for who takes a little at a
		// time, too. But a loop that was late had not seen the room for so long.
		if (l.gap == 0 || c.lastOut < l.clock) && !l.be.pending(c, newsRoom) {
			return false
		}
		c.until = l.clock + max(l.gap, 1)
	case c.stalled():
		if !l.be.pending(c, newsRoom) {
			return false
		}
		c.lastOut = l.clock
	default:
		// After its FIN the kernel reports input for ever.
		input := newsInput
		if c.flags&flagEOF != 0 || !c.kind.reads() {
			input = newsNone
		}
		if c.flags&flagOwed == 0 && c.out.bytes == 0 && !l.be.pending(c, input) {
			return false
		}
		c.lastIn = l.clock
	}
	return true
}

// expired ends a connection whose deadline has come.
func (c *Conn) expired() {
	switch {
	case c.state == stateLingering:
		c.fail(c.reason)
	case c.state == stateFlushing:
		c.flags |= flagReset
		c.fail(c.flushError())
	case c.stalled():
		c.flags |= flagReset
		c.fail(ErrStalled)
	default:
		c.fail(ErrIdle)
	}
}

// stalled reports whether output has waited for Options.StallTimeout.
func (c *Conn) stalled() bool {
	d := c.opts.StallTimeout
	return d > 0 && c.out.bytes > 0 && c.lastOut.Add(d) <= c.loop.clock
}
