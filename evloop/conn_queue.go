// SPDX-License-Identifier: Apache-2.0

package evloop

// A queue is a list of messages that wait to be sent. Its nodes lie in one
// slab of the loop, so that an empty queue costs a connection nothing and a
// busy one does not allocate. The list is linked both ways, because a policy
// may drop at either end.
//
//	head ─► [m0 ▓▓▓▓░░░] ◄─► [m1 ░░░░] ◄─► [m2 ░░] ◄─ tail
//	             ▲ off: m0 has begun and will never be dropped or cut
//
// Small messages that Write has copied share a buffer:
//
//	Pause, Disconnect        one node for all of them, since none is ever
//	                         dropped without the others; Message.count says
//	                         how many they are
//	DropOldest, DropNewest   a node for each, and for packets too
//
// A connection has a queue only while there is something to remember of its output, and
// else noQueue. Most are idle, and each would hold 40 bytes more.
//
// The functions stand in the order in which a message meets them, from Send to
// afterSend. When the queue is offered to the kernel is in loop_callback.go, how room is
// made in one that is full in conn_policy.go, and Write, which copies, in conn_write.go.
type queue struct {
	head, tail uint32 // nodes, plus one; 0: none
	off        uint32 // bytes of the head already sent
	bytes      uint32 // still to be sent
	charge     int64  // what this queue takes of the memory bound, shared messages in full

	prev, next uint32 // neighbours in the bucket of the loop's debtors: slots, plus one
	bucket     uint8  // 0: owes nothing
	rest       bool   // the head is the rest of a message that has begun, though off is 0
}

// noQueue is what reads find of a connection that has no queue. Nothing is written to it.
var noQueue queue

// queue returns c's queue to change it.
func (c *Conn) queue() *queue {
	if c.out == &noQueue {
		c.out = c.loop.pool.queue()
	}
	return c.out
}

// releaseQueue gives back a queue in which nothing is left. Until something is queued
// again, c has none.
func (c *Conn) releaseQueue() {
	if q := c.out; q != &noQueue && q.head == 0 && q.bucket == 0 {
		c.out = &noQueue
		c.loop.pool.putQueue(q)
	}
}

type node struct {
	m          *Message
	prev, next uint32 // plus one
	from, to   uint32 // its part of m.buf
}

// nodeSize is charged to the memory bound for each node: a queue of ten-byte
// lines would otherwise cost more in nodes than it is charged in bytes.
const nodeSize = 24

func (n *node) size() uint32 { return n.to - n.from }
func (n *node) data() []byte { return n.m.buf[n.from:n.to] }

// count returns how many messages n stands for.
func (n *node) count() int { return max(1, int(n.m.count)) }

// Send queues m, which is shared and not copied, as one message. The result
// is false when it was dropped or the connection is closing.
func (c *Conn) Send(m *Message) bool {
	c.loop.checkCaller()
	if !c.accepts(len(m.buf)) {
		return len(m.buf) == 0 && c.mayWrite()
	}
	if c.flags&flagTapped != 0 {
		c.tell(m.buf)
	}
	if c.loop.gather.c == c {
		c.loop.spill(c) // keep the order
	}
	c.loop.enqueue(c, m)
	return c.queuedSome()
}

// accepts reports whether a message of n bytes may be taken now. A message that
// is refused costs as much work as one that is taken: a room may have thousands
// of members whose queues are full, and goes over all of them for each line.
func (c *Conn) accepts(n int) bool {
	c.loop.work.left--
	return n > 0 && c.mayWrite() && (c.fits(c.Queued(), n) || c.room(n))
}

// fits reports whether a queue of have bytes takes n more. An empty queue takes
// any message, so that no message is too large to be ever sent. Under Pause
// every queue below twice its bound takes any message, too: a handler that
// stops when the queue is full loses nothing, and a handler that never asks is
// bounded all the same.
func (c *Conn) fits(have, n int) bool {
	q := c.opts.queue()
	if c.opts.Overflow == Pause {
		return have/2 < q && n <= longest
	}
	return (have == 0 || have+n <= q) && n <= longest
}

// mayWrite reports whether output can still reach the peer.
func (c *Conn) mayWrite() bool {
	return c.state == stateOpen && c.flags&(flagBroken|flagShut|flagLent) == 0 && c.kind.writes()
}

// enqueue appends m, by reference, to c's queue.
func (l *Loop) enqueue(c *Conn, m *Message) {
	if m.queued == 0 {
		l.queued += m.cost()
	}
	c.queue().charge += m.cost()
	l.link(c, m, 0)
}

// link appends m.buf[from:] as one node.
func (l *Loop) link(c *Conn, m *Message, from int) {
	q := c.queue()
	i, n := l.nodes.get()
	n.m, n.from, n.to = m, uint32(from), uint32(len(m.buf))
	n.prev, n.next = q.tail, 0
	if q.tail == 0 {
		q.head = i
		c.lastOut = l.clock // the wait begins
	} else {
		l.nodes.nodes[q.tail-1].next = i
	}
	q.tail = i
	q.bytes += uint32(len(m.buf) - from)
	q.charge += nodeSize
	l.queued += nodeSize
	m.queued++
}

// queuedSome is called after a message was put into the queue. Nothing is owed before
// the kernel was asked, so the ledger is for what it leaves, unless the memory bound is
// reached.
func (c *Conn) queuedSome() bool {
	c.checkFull()
	c.makeDirty()
	if l := c.loop; l.pressed() {
		l.owe(c)
	}
	return c.state == stateOpen
}

func (c *Conn) checkFull() {
	if c.Queued() >= c.opts.queue() {
		c.flags |= flagFull
	}
}

// makeDirty has c flushed when the outermost callback returns.
func (c *Conn) makeDirty() {
	if c.flags&flagDirty == 0 {
		c.flags |= flagDirty
		c.loop.work.left -= callWork
		c.loop.dirty = append(c.loop.dirty, c)
	}
}

// sent forgets n bytes that the kernel has taken.
func (l *Loop) sent(c *Conn, n int) {
	c.bytesOut += uint64(n)
	l.work.left -= n / workBytes
	c.lastOut = l.clock
	switch g := &l.gather; {
	case g.c != c:
		l.advance(c, n)
	case n == g.bytes:
		g.reset()
	default:
		g.advance(n)
	}
}

// advance forgets the first n bytes of the queue.
func (l *Loop) advance(c *Conn, n int) {
	if n == 0 {
		return // c.out may be noQueue
	}
	q := c.out
	q.bytes -= uint32(n)
	for n > 0 {
		rest := int(l.nodes.nodes[q.head-1].size()) - int(q.off)
		if n < rest {
			q.off += uint32(n)
			break
		}
		n -= rest
		q.off = 0
		l.pop(c)
	}
}

// pop takes out the head. The caller accounts for its bytes.
func (l *Loop) pop(c *Conn) {
	c.out.rest = false
	l.unlink(c, c.out.head)
}

// unlink takes node i out of c's queue and frees it.
func (l *Loop) unlink(c *Conn, i uint32) {
	q, ns := c.out, l.nodes.nodes
	n := &ns[i-1]
	m := n.m
	if n.prev == 0 {
		q.head = n.next
	} else {
		ns[n.prev-1].next = n.next
	}
	if n.next == 0 {
		q.tail = n.prev
	} else {
		ns[n.next-1].prev = n.prev
	}
	l.nodes.put(i)
	l.queued -= nodeSize
	q.charge -= nodeSize
	cost := m.cost()
	m.queued--
	if m.shared() || m.queued == 0 {
		q.charge -= cost
	}
	if m.queued > 0 {
		return
	}
	l.queued -= cost
	if !m.shared() {
		l.pool.recycle(m)
	}
}

// afterSend follows a send: what is queued has changed.
func (l *Loop) afterSend(c *Conn) {
	left := c.Queued()
	if c.flags&flagFull != 0 && left <= c.opts.lowWater() {
		c.flags &^= flagFull
		c.flags |= flagDrained
		c.makeReady()
		c.reading()
	}
	if left > 0 {
		l.weigh(c)
		c.watchDeadline()
		return
	}
	if c.out.bucket != 0 {
		l.weigh(c)
	} else {
		c.releaseQueue()
	}
	switch {
	case c.state == stateFlushing:
		c.flushed()
	case c.flags&flagFINDue != 0 && c.flags&flagBroken == 0:
		c.sendFIN()
	}
}

// discard throws away all output of c, because nothing can go out any more, and
// notes how much that was.
func (l *Loop) discard(c *Conn) {
	c.setUnsent(c.troubles().unsent + uint32(c.Queued()))
	if l.gather.c == c {
		l.gather.reset()
	}
	l.clearQueue(c)
}

// clearQueue takes out everything.
func (l *Loop) clearQueue(c *Conn) {
	for c.out.head != 0 {
		l.work.left--
		l.pop(c)
	}
	if c.out != &noQueue {
		c.out.off, c.out.bytes = 0, 0
	}
	l.weigh(c)
}

// nodeSlab is where the nodes of all queues lie.
type nodeSlab struct {
	nodes []node
	free  uint32 // plus one
	used  int
}

// slabKept is how many nodes are kept when none is used: what a burst has
// needed is given back when it is over.
const slabKept = 4096

// get returns a node to fill in.
func (s *nodeSlab) get() (i uint32, n *node) {
	s.used++
	if s.free == 0 {
		s.nodes = append(s.nodes, node{})
		return uint32(len(s.nodes)), &s.nodes[len(s.nodes)-1]
	}
	i = s.free
	n = &s.nodes[i-1]
	s.free = n.next
	return i, n
}

func (s *nodeSlab) put(i uint32) {
	n := &s.nodes[i-1]
	n.m, n.next = nil, s.free
	s.free = i
	if s.used--; s.used == 0 && len(s.nodes) > slabKept {
		s.nodes, s.free = nil, 0
	}
}
