// SPDX-License-Identifier: Apache-2.0

package evloop

// Write copies, and its output takes one of two ways. The first connection that a
// callback writes to, if it has nothing queued, has its output gathered in the loop's
// own scratch buffer. It is sent from there when the callback returns, and forgotten:
// an echo never touches the queue. Everything else waits in the connection's queue of
// messages (conn_queue.go), and so does what the kernel did not take. The ring sends
// when the turn ends, and so has copies in the queue from the beginning.
//
// With a buffer for each connection, output would not need the queue as a second way,
// but every idle connection would hold 4 KiB. A system call for each Write costs twelve
// times the CPU when a client pipelines sixteen questions.

// Write queues a copy of p as one message: the overflow policy keeps or drops
// it whole. It is sent, together with what else the callback writes, when the
// outermost callback returns. The result is false when the message was
// dropped or the connection is closing; p may be reused either way.
func (c *Conn) Write(p []byte) bool {
	c.loop.checkCaller()
	if !c.accepts(len(p)) {
		return len(p) == 0 && c.mayWrite()
	}
	if c.flags&flagTapped != 0 {
		c.tellCopy(p)
	}
	g := &c.loop.gather
	if c.gathers() && (g.c == c || !c.putsOff()) && (g.copy(p) || c.makeRoom() && g.copy(p)) {
		return c.gathered()
	}
	return c.enqueueOne(p)
}

// WriteStatic is Write for bytes that stay unchanged until the outermost
// callback returns, such as the input of Data or a constant. All but short
// ones are copied only if the kernel does not take them at once.
//
// It is apart from Write so that what Write was given does not escape: a reply
// may be built in an array on the stack.
func (c *Conn) WriteStatic(p []byte) bool {
	c.loop.checkCaller()
	if len(p) < borrowMin {
		return c.Write(p)
	}
	if !c.accepts(len(p)) {
		return false
	}
	if c.flags&flagTapped != 0 {
		c.tellCopy(p)
	}
	g := &c.loop.gather
	if c.gathers() && (g.borrow(p) || c.makeRoom() && g.borrow(p)) {
		return c.gathered()
	}
	return c.enqueueOne(p)
}

// gathers reports whether output of c goes the short way, by the one send at
// the end of the callback. Where single messages may be dropped later, each
// stays a piece of its own.
func (c *Conn) gathers() bool {
	g := &c.loop.gather
	if c.out.bytes > 0 || (g.c != c && g.c != nil) || !c.kind.isStream() {
		return false
	}
	if !c.merges() {
		g.copied = false
	}
	return true
}

// makeRoom sends what was gathered and reports whether more may be.
func (c *Conn) makeRoom() bool {
	c.loop.flush(c)
	return c.mayWrite() && c.out.bytes == 0
}

// gathered is called after a message was gathered.
func (c *Conn) gathered() bool {
	c.loop.gather.c = c
	c.makeDirty()
	c.checkFull()
	return true
}

const (
	// maxVectors bounds a gathered write. IOV_MAX is 1024; beyond some tens
	// of pieces the copy inside the kernel outweighs the saved calls.
	maxVectors  = 64
	maxNodes    = 1024 // most nodes that one write takes: many may lie side by side in one buffer
	scratchSize = 64 << 10
)

// gather is the output of the present callback to one connection.
type gather struct {
	c       *Conn
	pieces  [][]byte // in scratch, or memory that stays unchanged until the callback returns
	scratch []byte
	bytes   int
	copied  bool // the last piece ends where scratch ends, and may grow
	begun   bool // the first piece is the rest of one that has begun to go out
}

func (g *gather) reset() {
	forget(g.pieces)
	g.c, g.pieces, g.scratch, g.bytes = nil, g.pieces[:0], g.scratch[:0], 0
	g.copied, g.begun = false, false
}

// forget clears a list of pointers. After an echo it has one entry, for which the call
// that clear makes takes ten times the instructions.
func forget[T any](list []T) {
	if len(list) == 1 {
		var none T
		list[0] = none
		return
	}
	clear(list)
}

// borrowMin is the least size of bytes that are sent from where they lie and
// not copied. Copying a short answer next to the one before costs less than
// another vector.
const borrowMin = 512

// borrow takes p itself and reports whether it had room.
func (g *gather) borrow(p []byte) bool {
	if len(g.pieces) == maxVectors {
		return false
	}
	g.pieces, g.copied = append(g.pieces, p), false
	g.bytes += len(p)
	return true
}

// copy takes a copy of p and reports whether it had room.
func (g *gather) copy(p []byte) bool {
	if g.scratch == nil {
		g.scratch = make([]byte, 0, scratchSize)
	}
	start := len(g.scratch)
	if start+len(p) > scratchSize || (!g.copied && len(g.pieces) == maxVectors) {
		return false
	}
	g.scratch = append(g.scratch, p...)
	if g.copied {
		last := &g.pieces[len(g.pieces)-1]
		*last = (*last)[:len(*last)+len(p)]
	} else {
		g.pieces, g.copied = append(g.pieces, g.scratch[start:]), true
	}
	g.bytes += len(p)
	return true
}

// advance forgets n bytes that were sent.
func (g *gather) advance(n int) {
	g.bytes -= n
	i := 0
	for n > 0 && n >= len(g.pieces[i]) {
		n -= len(g.pieces[i])
		i++
	}
	if i > 0 {
		rest := copy(g.pieces, g.pieces[i:])
		clear(g.pieces[rest:]) // stale pieces would keep their messages alive
		g.pieces = g.pieces[:rest]
	}
	if n > 0 {
		g.pieces[0] = g.pieces[0][n:]
	}
	g.begun = n > 0
}

// spill moves what was gathered for c into its queue. The ledger is the caller's.
func (l *Loop) spill(c *Conn) {
	if l.gather.c != c {
		return
	}
	for _, p := range l.gather.pieces {
		l.enqueueCopy(c, p)
	}
	if l.gather.begun {
		c.queue().rest = true
	}
	l.gather.reset()
}

// enqueueOne queues a copy of p.
func (c *Conn) enqueueOne(p []byte) bool {
	if !c.mayWrite() { // the send that was to make room has failed
		return false
	}
	c.loop.enqueueCopy(c, p)
	return c.queuedSome()
}

// chunkMost is the largest buffer for small messages. A new buffer is as large
// as the queue already is, up to this: a short queue wastes little, and a long
// one has few buffers.
const chunkMost = 16 << 10

// enqueueCopy appends a copy of p, to the newest buffer if that has room.
func (l *Loop) enqueueCopy(c *Conn, p []byte) {
	if l.extend(c, p) {
		return
	}
	m := l.pool.message(max(len(p), min(int(c.out.bytes), chunkMost)))
	m.buf = append(m.buf, p...)
	l.enqueue(c, m)
}

// extend puts p behind the message at the tail, in the same buffer, and reports
// whether it did. The messages of a buffer are either all one node or a node
// each. With a mixture, dropped messages could not be counted.
func (l *Loop) extend(c *Conn, p []byte) bool {
	q := c.out
	if q.tail == 0 {
		return false
	}
	n := &l.nodes.nodes[q.tail-1]
	m, merges := n.m, c.merges()
	switch {
	case m.shared() || int(n.to) < len(m.buf) || cap(m.buf)-len(m.buf) < len(p):
		return false
	case merges && m.queued > 1 || !merges && m.count > 1:
		return false // the buffer was filled before SetOptions changed the policy
	}
	from := l.lengthen(c, m, p)
	if !merges {
		l.link(c, m, from)
		return true
	}
	m.count++
	n.to += uint32(len(p))
	q.bytes += uint32(len(p))
	return true
}

// lengthen puts p into the buffer of m, which is c's own, and returns where it
// begins there.
func (l *Loop) lengthen(c *Conn, m *Message, p []byte) (from int) {
	from, before := len(m.buf), m.cost()
	m.buf = append(m.buf, p...)
	grown := m.cost() - before
	c.out.charge += grown
	l.queued += grown
	return from
}

// merges reports whether messages may lose their boundaries on the way out.
func (c *Conn) merges() bool {
	return c.kind.isStream() && (c.opts.Overflow == Pause || c.opts.Overflow == Disconnect)
}
