// SPDX-License-Identifier: Apache-2.0

package evloop

import "time"

// How a connection ends. A close(2) while input lies unread makes TCP answer
// with RST, and that RST destroys a reply which is still on its way. So an
// orderly end sends FIN first and lingers: it reads and discards until the
// peer's FIN, for a bounded time. SO_LINGER cannot do this: it makes close
// block, even on a non-blocking socket (socket(7)).

// lingerTime is the longest wait for the peer's FIN. The reply is the
// kernel's by then; the wait only keeps the descriptor from being closed under
// a peer that is still sending. A second covers a slow radio link and is
// short enough for a restart.
const lingerTime = time.Second

// CloseWrite ends the output in order, and nothing else: what is queued goes out, then
// FIN, and Write returns false from now on. Data and EOF go on, and the connection
// stays until the handler ends it or both directions have ended. It is for a relay
// whose one peer has said all and still waits for the answer. Only sockets can do it:
// on another descriptor, and when the end has begun, the call does nothing.
func (c *Conn) CloseWrite() {
	c.loop.checkCaller()
	if c.state != stateOpen || c.flags&(flagShut|flagLent) != 0 || !c.kind.halfCloses() {
		return
	}
	c.flags |= flagShut | flagFINDue
	c.makeDirty()
}

// sendFIN is called when the kernel has taken the last byte before it. An error means
// that the peer has gone, which the next read tells.
func (c *Conn) sendFIN() {
	c.flags &^= flagFINDue
	_ = c.loop.sys.shutdown(int(c.fd))
	if c.flags&flagEOF != 0 { // both directions have ended
		c.fail(c.lost())
	}
}

// sentFIN reports whether FIN has gone out while the connection is open. The kernel
// reports a hang-up then as soon as the peer's FIN has come, though the peer may still
// read.
func (c *Conn) sentFIN() bool { return c.flags&(flagShut|flagFINDue) == flagShut }

// CloseAfterFlush ends the connection in order: no further Data and EOF, what
// is queued goes out, then FIN. Closed gets reason. If reason is nil, Closed
// gets ErrFlushTimeout when the peer has not taken everything after timeout, or
// ErrStalled when it has taken nothing for Options.StallTimeout before that.
// With the longest Duration only StallTimeout applies, and a later call may set
// a timeout. Any other call does nothing once the end has begun.
func (c *Conn) CloseAfterFlush(timeout time.Duration, reason error) {
	c.loop.checkCaller()
	until := c.loop.clock.Add(max(0, timeout))
	if c.state == stateFlushing && c.until == never {
		c.until = until
		c.watchDeadline()
	}
	if c.state != stateOpen {
		return
	}
	if c.flags&flagLent != 0 {
		if err := c.takeBack(); err != nil {
			c.fail(err)
			return
		}
	}
	c.state = stateFlushing
	if reason != nil || c.flags&flagBroken == 0 {
		c.setReason(reason)
	}
	c.until = until
	c.makeDirty()
	c.watchDeadline()
}

// Abort ends the connection at once: what is queued is dropped, and a TCP
// peer gets RST, so that it cannot take the cut for an orderly end. Closed
// gets reason, or ErrAborted for nil, when the outermost callback has returned,
// or in a later turn when more connections end at once than one turn closes.
func (c *Conn) Abort(reason error) {
	c.loop.checkCaller()
	if reason == nil {
		reason = ErrAborted
	}
	c.flags |= flagReset
	c.fail(reason)
}

// flushError is what Closed reports when flushing did not come to its end.
func (c *Conn) flushError() error {
	switch {
	case c.reason() != nil:
		return c.reason()
	case c.until > c.loop.clock:
		return ErrStalled
	}
	return ErrFlushTimeout
}

// fail ends the connection with err, whatever its state. If that throws away
// queued bytes, the close becomes a reset. They are released here and not in
// bury, because collectDebt may need the memory now.
func (c *Conn) fail(err error) {
	if c.state >= stateDead {
		return
	}
	c.state = stateDead
	c.setReason(err)
	l := c.loop
	l.discard(c)
	if c.troubles().unsent > 0 {
		c.flags |= flagReset
	}
	l.releaseInput(c)
	if c.held > 0 {
		l.be.release(c)
	}
	l.dead = append(l.dead, c)
	if c.flags&flagDetached != 0 {
		c.setUnsent(0) // it is carried along
		l.detached++
	}
}

// flushed is called when the kernel has taken the last byte of a connection
// that flushes. It sends FIN and begins to linger.
func (c *Conn) flushed() {
	l := c.loop
	if c.flags&flagEOF != 0 || !c.kind.halfCloses() || c.flags&flagBroken != 0 {
		c.fail(c.reason())
		return
	}
	if err := l.sys.shutdown(int(c.fd)); err != nil { // the peer has gone: there is nobody to wait for
		c.fail(c.reason())
		return
	}
	c.state = stateLingering
	c.until = min(c.until, l.clock.Add(lingerTime))
	l.releaseInput(c)
	if c.until <= l.clock {
		c.fail(c.reason())
		return
	}
	l.deadlines.set(c.slot, c.until)
	if c.unread() {
		c.makeReady()
	}
}

// buryDead frees as many closed connections as a turn may. Detached ones are
// freed whatever the turn has done, since their descriptors may be served again
// in this turn. The rest keeps its order.
func (l *Loop) buryDead() {
	left := 0
	for i := 0; i < len(l.dead); i++ {
		c := l.dead[i]
		if l.mayBury() || c.flags&flagDetached != 0 {
			l.bury(c)
			continue
		}
		l.dead[left] = c
		left++
	}
	clear(l.dead[left:])
	l.dead = l.dead[:left]
}

// mayBury reports whether another connection may be freed in this turn. Close
// frees them all.
func (l *Loop) mayBury() bool { return l.work.buried < l.work.bury || l.closed }

// bury releases what a dead connection holds and calls Closed.
func (l *Loop) bury(c *Conn) {
	if c.state == stateBuried {
		return
	}
	c.state = stateBuried
	if c.flags&flagDetached != 0 {
		l.detached--
	} else {
		l.work.buried++
	}
	l.work.left -= buryWork
	l.cancelTimers(c)
	c.reportDrops()
	if c.flags&flagDetached == 0 {
		l.be.end(c)
	}
	c.fd = -1
	l.conns.remove(c.slot)
	c.h.Closed(c, c.reason())
	l.kick() // a descriptor is free again
}
