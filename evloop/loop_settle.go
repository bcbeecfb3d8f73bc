// SPDX-License-Identifier: Apache-2.0

package evloop

// What follows a callback, in this order: output is sent, drops are reported, and
// connections that have ended are buried. Nothing of this happens while a callback runs,
// but for a queue that is full: all replies to one read are one send, and no handler
// finds its connection freed under it. The price is a list of the connections that the
// callback has touched.

// enter and leave bracket every callback. The outermost leave settles.
func (l *Loop) enter() { l.depth++ }

func (l *Loop) leave() {
	if l.depth == 1 {
		l.settle(false)
	}
	l.depth--
}

// settle sends what was written, reports what was dropped and frees what was
// closed. It repeats this until the callbacks that it makes leave nothing more
// to do, or the turn has buried enough. What those callbacks drop is reported
// in the next turn, and with told set so is every drop. Otherwise a Dropped
// that writes could keep settle busy for ever.
func (l *Loop) settle(told bool) {
	for ; len(l.dirty)+len(l.dropped) > 0 || len(l.dead) > 0 && (l.detached > 0 || l.mayBury()); told = true {
		for i := 0; i < len(l.dirty); i++ {
			c := l.dirty[i]
			c.flags &^= flagDirty
			l.flush(c)
		}
		clear(l.dirty)
		l.dirty, l.strict = l.dirty[:0], false
		for i, n := 0, len(l.dropped); i < len(l.dropped); i++ {
			if c := l.dropped[i]; told || i >= n {
				c.makeReady() // flagReport stays
			} else {
				c.reportDrops()
			}
		}
		clear(l.dropped)
		l.dropped = l.dropped[:0]
		if len(l.dead) > 0 {
			l.buryDead()
		}
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
	}
	switch {
	case c.state == stateFlushing:
		c.flushed()
	case c.flags&flagFINDue != 0 && c.flags&flagBroken == 0:
		c.sendFIN()
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
