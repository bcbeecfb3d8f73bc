// SPDX-License-Identifier: Apache-2.0

package evloop

// Output takes one of two ways. The first connection that a callback writes to,
// if it has nothing queued, has its output gathered in the loop's own scratch
// buffer. It is sent from there when the callback returns, and forgotten: an
// echo never touches the queue. Everything else, and what the kernel did not
// take, waits in the connection's queue of messages.

// Write queues a copy of p as one message: the overflow policy keeps or drops
// it whole. It is sent, together with what else the callback writes, when the
// outermost callback returns. The result is false when the message was
// dropped or the connection is closing; p may be reused either way.
func (c *Conn) Write(p []byte) bool {
	c.loop.checkCaller()
	if !c.accepts(len(p)) {
		return len(p) == 0 && c.mayWrite()
	}
	g := &c.loop.gather
	if c.gathers() && (g.copy(p) || c.makeRoom() && g.copy(p)) {
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
	g := &c.loop.gather
	if c.gathers() && (g.borrow(p) || c.makeRoom() && g.borrow(p)) {
		return c.gathered()
	}
	return c.enqueueOne(p)
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

// enqueueOne queues a copy of p.
func (c *Conn) enqueueOne(p []byte) bool {
	if !c.mayWrite() { // the send that was to make room has failed
		return false
	}
	c.loop.enqueueCopy(c, p)
	return c.queuedSome()
}

// mayWrite reports whether output can still reach the peer.
func (c *Conn) mayWrite() bool {
	return c.state == stateOpen && c.flags&flagBroken == 0 && c.kind.writes()
}

// Send queues m, which is shared and not copied, as one message. The result
// is false when it was dropped or the connection is closing.
func (c *Conn) Send(m *Message) bool {
	c.loop.checkCaller()
	if !c.accepts(len(m.buf)) {
		return len(m.buf) == 0 && c.mayWrite()
	}
	c.loop.spill(c) // keep the order
	c.loop.enqueue(c, m)
	return c.queuedSome()
}

// queuedSome is called after a message was put into the queue.
func (c *Conn) queuedSome() bool {
	c.checkFull()
	c.makeDirty()
	c.loop.owe(c)
	return c.state == stateOpen
}

func (c *Conn) checkFull() {
	if c.Queued() >= c.opts.queue() {
		c.flags |= flagFull
	}
}

// flush sends what it can of c's output, charges c for the rest and calls
// afterSend. The back end tells by sent and sendFailed what the kernel has
// taken. It makes no callbacks.
func (l *Loop) flush(c *Conn) {
	if c.state >= stateDead {
		return
	}
	if c.flags&flagBroken == 0 {
		l.be.send(c)
	}
	if l.gather.c == c {
		l.spill(c)
		l.owe(c)
	}
	if c.state < stateDead {
		l.afterSend(c)
	}
}

// afterSend follows a send: what is queued has changed.
func (l *Loop) afterSend(c *Conn) {
	if c.out.bucket != 0 { // else c owed nothing before, and a send adds no debt
		l.weigh(c)
	}
	left := c.Queued()
	if c.flags&flagFull != 0 && left <= c.opts.lowWater() {
		c.flags &^= flagFull
		c.flags |= flagDrained
		c.makeReady()
		c.reading()
	}
	switch {
	case left > 0:
		c.watchDeadline()
	case c.state == stateFlushing:
		c.flushed()
	}
}

// sendFailed notes that the kernel takes no more output from c. Input that
// came before the failure is still to be read (after a reset the kernel keeps
// it readable), so a connection that can be read ends when that is done.
func (l *Loop) sendFailed(c *Conn, err error) {
	if c.state != stateOpen || c.flags&flagEOF != 0 || !c.kind.reads() {
		if c.reason != nil {
			err = c.reason // why it was ending anyway
		}
		c.fail(err)
		return
	}
	c.flags |= flagBroken | flagReset
	c.reason = err
	l.discard(c)
	c.readOn() // to EAGAIN, which then ends it
}

// makeDirty has c flushed when the outermost callback returns.
func (c *Conn) makeDirty() {
	if c.flags&flagDirty == 0 {
		c.flags |= flagDirty
		c.loop.work.left -= callWork
		c.loop.dirty = append(c.loop.dirty, c)
	}
}
