// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"math"
	"math/bits"
)

// room makes room in c's queue for a message of n bytes by c's policy and
// reports whether the message may be queued.
func (c *Conn) room(n int) bool {
	if c.fits(c.Queued(), n) {
		return true
	}
	// What a callback has gathered may be more than the queue takes and yet
	// go out at once: ask the kernel before anyone pays.
	l := c.loop
	if !c.stuck() {
		l.flush(c)
		l.be.offer()
		if !c.mayWrite() {
			return false
		}
	}
	if c.opts.Overflow == DropOldest {
		l.dropFor(c, n)
	}
	if c.fits(int(c.out.bytes), n) {
		return true
	}
	c.countDrop(1, n)
	if c.opts.Overflow == Disconnect {
		c.overflow(ErrOverflow)
		l.collectDebt() // a farewell was queued
	}
	return false
}

// fits reports whether a queue of have bytes takes n more. An empty queue takes
// any message, so that none is too large to be sent ever. Under Pause so does
// every queue below twice its bound: a handler that stops at a full one loses
// nothing, and one that never asks is bounded all the same.
func (c *Conn) fits(have, n int) bool {
	q := c.opts.queue()
	if c.opts.Overflow == Pause {
		return have/2 < q && n <= longest
	}
	return (have == 0 || have+n <= q) && n <= longest
}

// dropFor drops the oldest messages for one of n bytes, unless it would not fit
// even then: a message that has begun may take all the room.
func (l *Loop) dropFor(c *Conn, n int) {
	if !c.fits(l.due(&c.out), n) {
		return
	}
	for !c.fits(int(c.out.bytes), n) && l.dropFirst(c) {
	}
}

// countDrop counts messages that c will never get.
func (c *Conn) countDrop(messages, bytes int) {
	c.dropped += uint64(messages)
	c.unsaid += uint32(messages)
	c.unsaidBytes += uint64(bytes)
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

// owing finds a connection that owes about the most when the loop's memory
// bound is reached: none owes an eighth more. Debtors are chained in buckets,
// eight for each doubling of the debt, and a bit says which are not empty, so
// the cost does not depend on how many they are. A heap would have to be
// repaired at every queued message.
//
//	debt    0  1 … 15  16,17  18,19 … 30,31  32…35  36…39 …
//	bucket  0  1 … 15     16     17 …    23     24     25 …
type owing struct {
	heads [owingBuckets]uint32             // slots, plus one
	some  [(owingBuckets + 63) / 64]uint64 // by bucket: it is not empty
}

const owingBuckets = 30 * 8 // up to 4 GiB; what is beyond is in the last one

// bucketOf returns the bucket of a debt: its exponent, and the three bits
// behind its leading one.
func bucketOf(debt int64) uint8 {
	d := uint32(min(debt, math.MaxUint32))
	e := max(0, bits.Len32(d)-4)
	return uint8(8*e) + uint8(d>>e)
}

// debt is what c holds of the loop's memory bound. A shared message counts in
// full for each that queues it, although it is charged once: each would keep
// it, were it the last.
func (c *Conn) debt() int64 { return c.out.charge + int64(cap(c.in)) + int64(c.held) }

// weigh puts c into the bucket that its debt belongs to.
func (l *Loop) weigh(c *Conn) {
	b := bucketOf(c.debt())
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
	l.owing.some[b/64] |= 1 << (b % 64)
}

func (o *owing) unchain(l *Loop, c *Conn) {
	q := &c.out
	if q.prev != 0 {
		l.conns.slots[q.prev-1].val.out.next = q.next
	} else {
		o.heads[q.bucket] = q.next
		if q.next == 0 {
			o.some[q.bucket/64] &^= 1 << (q.bucket % 64)
		}
	}
	if q.next != 0 {
		l.conns.slots[q.next-1].val.out.prev = q.prev
	}
	q.prev, q.next, q.bucket = 0, 0, 0
}

// greatest returns a connection of the topmost bucket, or nil.
func (o *owing) greatest(l *Loop) *Conn {
	for i := len(o.some) - 1; i >= 0; i-- {
		if w := o.some[i]; w != 0 {
			b := 64*i + bits.Len64(w) - 1
			return l.conns.slots[o.heads[b]-1].val
		}
	}
	return nil
}

// collectDebt brings what is queued under the loop's memory bound. Each round
// takes something from somebody, so it ends.
func (l *Loop) collectDebt() {
	if l.memory > 0 && l.queued > l.memory {
		l.be.offer() // what the kernel takes nobody owes
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
