// SPDX-License-Identifier: Apache-2.0

package evloop

// room makes room in c's queue for a message of n bytes that does not fit, by
// c's policy, and reports whether the message may be queued.
func (c *Conn) room(n int) bool {
	// What a callback has gathered may be more than the queue takes and yet go
	// out at once: ask the kernel before anything is dropped.
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
		l.owe(c) // a farewell was queued
	}
	return false
}

// dropFor drops the oldest messages for one of n bytes, unless it would not fit
// even then: a message that has begun may take all the room.
func (l *Loop) dropFor(c *Conn, n int) {
	if !c.fits(l.due(c.out), n) {
		return
	}
	for !c.fits(int(c.out.bytes), n) && l.dropFirst(c) {
	}
}

// countDrop counts messages that c will never get.
func (c *Conn) countDrop(messages, bytes int) {
	t := c.haveTrouble()
	t.dropped += uint64(messages)
	t.unreported += uint32(messages)
	t.unreportedBytes += uint64(bytes)
	c.loop.stats.DroppedMessages += uint64(messages)
	if c.flags&flagReport == 0 {
		c.flags |= flagReport
		c.loop.dropped = append(c.loop.dropped, c)
	}
}

// reportDrops tells a Dropper what was dropped since the last time.
func (c *Conn) reportDrops() {
	c.flags &^= flagReport
	messages, bytes := c.reported()
	if d, ok := c.h.(Dropper); ok && messages > 0 {
		d.Dropped(c, messages, bytes)
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
	l.weigh(c)
	c.CloseAfterFlush(c.opts.FarewellTimeout, reason)
}

// begun returns the node that has partly gone out and must be finished, or 0.
func (q *queue) begun() uint32 {
	if q.off > 0 || q.rest {
		return q.head
	}
	return 0
}

// due returns how many bytes no policy may drop any more.
func (l *Loop) due(q *queue) int {
	if i := q.begun(); i != 0 {
		return int(l.nodes.nodes[i-1].size() - q.off)
	}
	return 0
}

// dropFirst drops the oldest message that has not begun to go out.
func (l *Loop) dropFirst(c *Conn) bool {
	i := c.out.head
	if begun := c.out.begun(); begun != 0 {
		i = l.nodes.nodes[begun-1].next
	}
	return l.drop(c, i)
}

// dropLast drops the newest message, if it has not begun to go out.
func (l *Loop) dropLast(c *Conn) bool {
	if c.out.tail == c.out.begun() {
		return false
	}
	return l.drop(c, c.out.tail)
}

// drop drops node i, unless that is 0, and counts it as lost.
func (l *Loop) drop(c *Conn, i uint32) bool {
	if i == 0 {
		return false
	}
	n := &l.nodes.nodes[i-1]
	c.out.bytes -= n.size()
	c.countDrop(n.count(), int(n.size()))
	l.work.left--
	l.unlink(c, i)
	l.weigh(c)
	c.makeDirty() // the queue may have emptied, or fallen to the low-water mark
	return true
}
