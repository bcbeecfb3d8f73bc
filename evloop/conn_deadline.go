// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"math"
	"time"
)

// Three things end a connection that does nothing: silence (IdleTimeout),
// output that the peer does not take (StallTimeout), and a flushing or
// lingering that takes too long.
//
// A connection has one moment in the loop's heap. Activity only notes its time
// (lastIn, lastOut), and overdue looks at these times when the moment comes. So
// a busy connection does not touch the heap: its moment is moved only to come
// earlier.
//
// The peer must not pay for a loop that is late. Two rules see to that:
//
//   - Deadlines run on a clock of their own, which stands still while the loop
//     serves a long turn or oversleeps. A turn may have to wait ten seconds for
//     an SD card, and the times that are noted in it are those of its
//     beginning.
//   - Before a connection is ended, the kernel is asked. After a SIGSTOP, or
//     with more events than one wait reports, the bytes or the room may be
//     there already, while their event is still to come.
//
// The alternative was to serve every event before any deadline. But eight
// thousand clients that write at once take 32 waits, and new events may come
// without end.
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

// watchDeadline makes the moment at which overdue looks at c earlier, if c has
// an earlier one now.
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
// earlier to see whether its output moves.
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

// overdue is called when the moment to look at the connection has come. It ends
// the connection if its deadline has come too and there is no excuse.
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

// lookAtOutput counts output that has left the kernel since the last look as
// progress. The first look at some output cannot tell whether any has left. It
// counts as progress if some is still there: a peer that reads a long reply is
// not idle.
func (c *Conn) lookAtOutput() {
	if c.state == stateLingering || c.acked == uint32(c.bytesOut) && c.flags&flagOnWay == 0 {
		return // all that was sent has left the kernel
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

// excused reports whether the peer is not to blame, and then gives the
// connection more time. Either the kernel has news of the peer that the late
// loop has not seen, or the peer waits for us.
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
		// Progress alone is no excuse: a peer that takes a little at a time
		// must end, too. After a delay of the loop it is one, for as long as
		// the delay was: the loop did not see the room in that time.
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
		// After the peer's FIN the kernel reports input for ever.
		input := newsInput
		if c.flags&flagEOF != 0 || !c.kind.reads() {
			input = newsNone
		}
		// What is kept and still to be shown came in time.
		if c.flags&(flagOwed|flagReplay) == 0 && !c.owesOutput() && !l.be.pending(c, input) {
			return false
		}
		c.lastIn = l.clock
	}
	return true
}

// owesOutput reports whether output waits for the peer. What is in the kernel alone
// does so only without a StallTimeout. With one, a peer that takes nothing more must
// end, and StallTimeout looks at the queue only.
func (c *Conn) owesOutput() bool {
	return c.out.bytes > 0 || c.opts.StallTimeout == 0 && c.flags&flagOnWay != 0
}

// expired ends a connection whose deadline has come.
func (c *Conn) expired() {
	switch {
	case c.state == stateLingering:
		c.fail(c.reason())
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
