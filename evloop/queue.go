// SPDX-License-Identifier: Apache-2.0

package evloop

// A queue is a list of messages that wait to be sent. Its nodes lie in one
// slab of the loop, so that an empty queue costs a connection nothing and a
// busy one does not allocate.
//
//	head ─► [m0 ▓▓▓▓░░░] ─► [m1 ░░░░] ─► [m2 ░░] ◄─ tail
//	             ▲ off: m0 has begun and will never be dropped or cut
type queue struct {
	head, tail uint32 // nodes, plus one; 0: none
	off        uint32 // bytes of the head's message already sent
	bytes      uint32 // still to be sent

	prev, next uint32 // neighbours in the bucket of the loop's debtors: slots, plus one
	bucket     uint8  // plus one; 0: owes nothing
	rest       bool   // the head is the rest of a message that has begun, though off is 0
}

type node struct {
	m     *Message
	next  uint32 // plus one
	count uint32 // messages in m: small ones are coalesced where none is ever dropped
}

// nodeSize is charged to the memory bound for each node: a queue of ten-byte
// lines would otherwise cost more in nodes than it is charged in bytes.
const nodeSize = 16

type nodeSlab struct {
	nodes []node
	free  uint32 // plus one
}

func (s *nodeSlab) get(m *Message) uint32 {
	if s.free == 0 {
		s.nodes = append(s.nodes, node{m: m, count: 1})
		return uint32(len(s.nodes))
	}
	i := s.free
	n := &s.nodes[i-1]
	s.free = n.next
	*n = node{m: m, count: 1}
	return i
}

func (s *nodeSlab) put(i uint32) {
	s.nodes[i-1] = node{next: s.free}
	s.free = i
}

// enqueue appends m, by reference, to c's queue.
func (l *Loop) enqueue(c *Conn, m *Message) {
	i := l.nodes.get(m)
	if c.out.tail == 0 {
		c.out.head = i
		c.lastOut = l.clock // the wait begins
	} else {
		l.nodes.nodes[c.out.tail-1].next = i
	}
	c.out.tail = i
	c.out.bytes += uint32(len(m.buf))
	l.queued += nodeSize
	if m.queued == 0 {
		l.queued += m.cost()
	}
	m.queued++
	l.weigh(c)
}

// enqueueCopy appends a copy of p. Where the policy never drops a single
// message, small ones share a buffer, which grows with the queue.
func (l *Loop) enqueueCopy(c *Conn, p []byte) {
	merges := c.merges()
	if t := c.out.tail; merges && t != 0 {
		n := &l.nodes.nodes[t-1]
		if n.m.private && cap(n.m.buf)-len(n.m.buf) >= len(p) {
			before := n.m.cost()
			n.m.buf = append(n.m.buf, p...)
			n.count++
			c.out.bytes += uint32(len(p))
			l.queued += n.m.cost() - before
			l.weigh(c)
			return
		}
	}
	size := len(p)
	if merges {
		size = max(size, min(int(c.out.bytes), 16<<10))
	}
	m := l.pool.message(size)
	m.buf = append(m.buf, p...)
	l.enqueue(c, m)
}

// merges reports whether messages may lose their boundaries on the way out.
func (c *Conn) merges() bool {
	return c.kind.isStream() && (c.opts.Overflow == Pause || c.opts.Overflow == Disconnect)
}

// advance forgets the first n bytes of the queue.
func (l *Loop) advance(c *Conn, n int) {
	q := &c.out
	q.bytes -= uint32(n)
	for n > 0 {
		rest := len(l.nodes.nodes[q.head-1].m.buf) - int(q.off)
		if n < rest {
			q.off += uint32(n)
			break
		}
		n -= rest
		q.off = 0
		l.pop(c)
	}
	l.weigh(c)
}

// pop releases the head. The caller accounts for its bytes.
func (l *Loop) pop(c *Conn) {
	q := &c.out
	i := q.head
	q.head = l.nodes.nodes[i-1].next
	q.rest = false
	if q.head == 0 {
		q.tail = 0
	}
	l.release(i)
}

// release frees a node that was taken out of its queue.
func (l *Loop) release(i uint32) {
	m := l.nodes.nodes[i-1].m
	l.nodes.put(i)
	l.queued -= nodeSize
	m.queued--
	if m.queued == 0 {
		l.queued -= m.cost()
		if m.private {
			l.pool.recycle(m)
		}
	}
}

// clearQueue releases everything.
func (l *Loop) clearQueue(c *Conn) {
	for c.out.head != 0 {
		l.pop(c)
	}
	c.out.off, c.out.bytes = 0, 0
	l.weigh(c)
}

// begun returns the node that has partly gone out and must be finished, or 0.
func (q *queue) begun() uint32 {
	if q.off > 0 || q.rest {
		return q.head
	}
	return 0
}

// dropFirst drops the oldest message that has not begun to go out.
func (l *Loop) dropFirst(c *Conn) bool {
	q, ns := &c.out, l.nodes.nodes
	before := q.begun()
	i := q.head
	if before != 0 {
		i = ns[before-1].next
	}
	if i == 0 {
		return false
	}
	l.unlink(c, before, i)
	return true
}

// dropLast drops the newest message, if it has not begun to go out.
func (l *Loop) dropLast(c *Conn) bool {
	q, ns := &c.out, l.nodes.nodes
	if q.tail == 0 || q.tail == q.begun() {
		return false
	}
	before := uint32(0)
	for i := q.head; i != q.tail; i = ns[i-1].next {
		before = i
	}
	l.unlink(c, before, q.tail)
	return true
}

// unlink drops node i, which follows node before (0: is the head), and counts
// it as lost.
func (l *Loop) unlink(c *Conn, before, i uint32) {
	q, ns := &c.out, l.nodes.nodes
	n := ns[i-1]
	if before == 0 {
		q.head = n.next
	} else {
		ns[before-1].next = n.next
	}
	if q.tail == i {
		q.tail = before
	}
	q.bytes -= uint32(len(n.m.buf))
	c.countDrop(int(n.count), len(n.m.buf))
	l.release(i)
	l.weigh(c)
	c.makeDirty() // the queue may have emptied, or fallen to the low-water mark
}
