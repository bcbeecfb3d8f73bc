// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"math"
	"math/bits"
)

// owing finds a connection that owes about the most when the loop's memory
// bound is reached: no other owes an eighth more. Debtors are chained in
// buckets, eight for each doubling of the debt, and a bit says which are not
// empty, so the cost does not depend on how many they are. A heap would have to
// be repaired at every queued message.
//
//	debt    0  1 … 15  16,17  18,19 … 30,31  32…35  36…39 …
//	bucket  0  1 … 15     16     17 …    23     24     25 …
//
// Most messages are taken by the kernel as soon as their callback has returned, or, by
// the ring, when the turn ends. So a connection is weighed when its output was sent
// (afterSend), and those on the dirty list, or with output that is put off, may owe more
// than their bucket says. If the bound is reached before that, collectDebt has the ring
// offer what was put off and weighs the list once. From then on the loop is strict: what
// is queued is weighed at once, until settle has emptied the list.
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
// full for each connection that queues it, although the loop is charged once:
// each of them alone would keep it in memory.
func (c *Conn) debt() int64 { return c.out.charge + c.inputCost() + int64(c.held) }

// weigh puts c into the bucket that its debt belongs to.
func (l *Loop) weigh(c *Conn) {
	b := bucketOf(c.debt())
	if c.opts.Exempt {
		b = 0
	}
	if b != c.out.bucket {
		if c.out.bucket != 0 {
			l.owing.unchain(l, c)
		}
		if b != 0 {
			l.owing.chain(l, c, b)
		}
	}
	if b == 0 {
		c.releaseQueue()
	}
}

func (o *owing) chain(l *Loop, c *Conn, b uint8) {
	q := c.queue()
	q.bucket = b
	q.prev, q.next = 0, o.heads[b]
	if q.next != 0 {
		l.conns.slots[q.next-1].val.out.prev = c.slot + 1
	}
	o.heads[b] = c.slot + 1
	o.some[b/64] |= 1 << (b % 64)
}

func (o *owing) unchain(l *Loop, c *Conn) {
	q := c.out
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

// pressed reports whether what is queued is to be weighed at once.
func (l *Loop) pressed() bool { return l.strict || l.memory > 0 && l.queued > l.memory }

// owe is called when c holds more than before: it updates the ledger and
// enforces the memory bound.
func (l *Loop) owe(c *Conn) {
	l.weigh(c)
	l.collectDebt()
}

// weighDirty brings the ledger up to date.
func (l *Loop) weighDirty() {
	if l.strict {
		return
	}
	l.strict = true
	for _, c := range l.dirty {
		if c.state < stateDead {
			l.weigh(c)
		}
	}
}

// collectDebt brings what is queued under the loop's memory bound. Each round
// takes something from one connection, so it ends.
func (l *Loop) collectDebt() {
	if l.restoring > 0 {
		return // what is not back yet may share what is
	}
	if l.memory > 0 && l.queued > l.memory {
		l.be.offer() // nobody owes what the kernel takes
		l.weighDirty()
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
