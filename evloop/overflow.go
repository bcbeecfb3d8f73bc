// SPDX-License-Identifier: Apache-2.0

package evloop

import "math/bits"

// room makes room in c's queue for a message of n bytes by c's policy and
// reports whether the message may be queued. An empty queue takes any
// message, so that none is too large to be sent ever.
func (c *Conn) room(n int) bool {
	l, q := c.loop, c.opts.queue()
	if have := c.Queued(); c.opts.Overflow == Pause || have == 0 || have+n <= q {
		return true
	}
	// What a callback has gathered may be more than the queue takes and yet
	// go out at once: ask the kernel before anyone pays.
	if c.flags&flagArmed == 0 {
		l.flush(c)
		l.offer()
		if !c.mayWrite() {
			return false
		}
	}
	switch c.opts.Overflow {
	case DropOldest:
		for c.out.bytes > 0 && int(c.out.bytes)+n > q && l.dropFirst(c) {
		}
		if c.out.bytes == 0 || int(c.out.bytes)+n <= q {
			return true
		}
		c.countDrop(1, n) // a message that has begun takes all the room
		return false
	case DropNewest:
		if c.out.bytes == 0 || int(c.out.bytes)+n <= q {
			return true
		}
		c.countDrop(1, n)
		return false
	}
	if c.out.bytes == 0 || int(c.out.bytes)+n <= q {
		return true
	}
	c.countDrop(1, n)
	c.overflow(ErrOverflow)
	l.collectDebt() // a farewell was queued
	return false
}

// countDrop counts messages that c will never get.
func (c *Conn) countDrop(messages, bytes int) {
	c.dropped += uint32(messages)
	c.unsaid += uint32(messages)
	c.unsaidBytes += uint32(bytes)
	c.loop.stats.DroppedMessages += uint64(messages)
	if c.flags&flagSaid == 0 {
		c.flags |= flagSaid
		c.loop.dropped = append(c.loop.dropped, c)
	}
}

// reportDrops tells a Dropper what was dropped since the last time.
func (c *Conn) reportDrops() {
	c.flags &^= flagSaid
	messages, bytes := c.unsaid, c.unsaidBytes
	c.unsaid, c.unsaidBytes = 0, 0
	if d, ok := c.h.(Dropper); ok && messages > 0 {
		d.Dropped(c, int(messages), int(bytes))
	}
}

// overflow ends a connection that owes too much: every message that has not
// begun is dropped, and the farewell follows the one that has.
func (c *Conn) overflow(reason error) {
	if c.state != stateOpen || len(c.opts.Farewell) == 0 || c.opts.FarewellTimeout <= 0 || c.flags&flagBroken != 0 {
		c.flags |= flagReset
		c.fail(reason)
		return
	}
	l := c.loop
	l.spill(c)
	for l.dropFirst(c) {
	}
	l.enqueueCopy(c, c.opts.Farewell)
	l.releaseInput(c)
	c.CloseAfterFlush(c.opts.FarewellTimeout, reason)
}

// owing finds the connection that owes the most when the loop's memory bound
// is reached: debtors are chained in buckets by the logarithm of what they
// owe, so that only those of the topmost bucket need comparing. A heap would
// have to be repaired at every queued message.
type owing struct {
	heads [33]uint32 // by bits.Len of the debt; slots, plus one
}

// debt is what c holds of the loop's memory bound. A shared message counts in
// full for each that queues it, although it is charged once.
func (c *Conn) debt() uint32 { return c.out.bytes + uint32(cap(c.in)) + c.held }

// weigh puts c into the bucket that its debt belongs to.
func (l *Loop) weigh(c *Conn) {
	b := uint8(bits.Len32(c.debt()))
	if c.opts.Exempt {
		b = 0
	}
	if b == c.out.bucket {
		return
	}
	if c.out.bucket != 0 {
		l.owing.unchain(l, c)
	}
	if b == 0 {
		return
	}
	q := &c.out
	q.bucket = b
	q.prev, q.next = 0, l.owing.heads[b]
	if q.next != 0 {
		l.conns.slots[q.next-1].val.out.prev = c.slot + 1
	}
	l.owing.heads[b] = c.slot + 1
}

func (o *owing) unchain(l *Loop, c *Conn) {
	q := &c.out
	if q.prev != 0 {
		l.conns.slots[q.prev-1].val.out.next = q.next
	} else {
		o.heads[q.bucket] = q.next
	}
	if q.next != 0 {
		l.conns.slots[q.next-1].val.out.prev = q.prev
	}
	q.prev, q.next, q.bucket = 0, 0, 0
}

// greatest returns the connection that owes the most, or nil.
func (o *owing) greatest(l *Loop) *Conn {
	for b := len(o.heads) - 1; b > 0; b-- {
		var most *Conn
		for s := o.heads[b]; s != 0; {
			c := l.conns.slots[s-1].val
			if most == nil || c.debt() > most.debt() {
				most = c
			}
			s = c.out.next
		}
		if most != nil {
			return most
		}
	}
	return nil
}

// collectDebt brings what is queued under the loop's memory bound. Each round
// takes something from somebody, so it ends.
func (l *Loop) collectDebt() {
	if l.memory > 0 && l.queued > l.memory {
		l.offer() // what the kernel takes nobody owes
	}
	for l.memory > 0 && l.queued > l.memory {
		c := l.owing.greatest(l)
		if c == nil {
			return
		}
		switch {
		case c.state != stateOpen:
			c.flags |= flagReset
			c.fail(ErrMemory)
		case c.opts.Overflow == DropOldest && l.dropFirst(c):
		case c.opts.Overflow == DropNewest && l.dropLast(c):
		default:
			c.overflow(ErrMemory)
		}
	}
}
