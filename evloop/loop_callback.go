// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A callback: what a handler is given, and what follows when it has returned.
//
//	received ─► Data ─► keep ─► leave ─► settle: flush, report drops, bury
//	ended ────► EOF ────────────┘
//
// Input is read into the loop's one buffer, behind a copy of what the handler
// left the last time, so that it always sees one contiguous run and an idle
// connection holds no buffer. The price is a copy of the kept part for each
// read; Options.MaxInput bounds it.
//
// While a callback runs, nothing is sent but what fills a queue, and nothing is
// freed. So all replies to one read are one send, and no handler finds its connection
// freed under it. The price is a list of the connections that the callback has touched.

// received passes n bytes to the handler, which were read into rbuf behind the
// kept input.
func (l *Loop) received(c *Conn, n int) {
	c.bytesIn += uint64(n)
	c.lastIn = l.clock
	l.deliver(c, n)
}

// replay shows kept input again, without new bytes.
func (l *Loop) replay(c *Conn) {
	if l.recall(c) > 0 {
		l.deliver(c, 0)
	}
}

// recall copies the kept input to where it is shown, and returns how much it is. Mostly
// there is none.
func (l *Loop) recall(c *Conn) int {
	if c.in == nil {
		return 0
	}
	return copy(l.rbuf, c.in.buf)
}

// deliver calls Data with the kept input and n bytes behind it, all of which are in rbuf,
// and keeps what it did not consume.
func (l *Loop) deliver(c *Conn, n int) {
	p := l.rbuf[:len(c.Input())+n]
	l.enter()
	c.flags |= flagInData
	n = c.h.Data(c, p)
	c.flags &^= flagInData
	if uint(n) > uint(len(p)) {
		panic(fmt.Sprintf("evloop: Data consumed %d of %d bytes", n, len(p)))
	}
	l.keep(c, p[n:])
	l.leave()
}

// keep stores the rest of the input; the next read goes behind it.
func (l *Loop) keep(c *Conn, rest []byte) {
	if len(rest) == 0 || c.state != stateOpen {
		l.releaseInput(c)
		return
	}
	if len(rest) > c.opts.maxInput() && c.mayRead() && c.flags&flagReplay == 0 {
		c.fail(ErrInputFull)
		return
	}
	l.store(c, rest)
	l.owe(c)
}

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
		forget(l.dirty)
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
	if c.flags&flagBroken == 0 && l.be.send(c) {
		l.putOff(c)
		return
	}
	if l.gather.c == c {
		l.spill(c)
		l.owe(c)
	}
	if c.state < stateDead {
		l.afterSend(c)
	}
}

// putOff has c's output wait for the end of the turn. Most of it will be nobody's debt,
// so c is charged only if the memory bound is reached.
func (l *Loop) putOff(c *Conn) {
	l.spill(c)
	if l.pressed() {
		l.owe(c)
	}
}

// sendFailed notes that the kernel takes no more output from c. Input that
// came before the failure is still to be read (after a reset the kernel keeps
// it readable), so a connection that can be read ends when that is done.
func (l *Loop) sendFailed(c *Conn, err error) {
	if c.state != stateOpen || c.flags&flagEOF != 0 || !c.kind.reads() {
		if c.reason() != nil {
			err = c.reason() // why it was ending anyway
		}
		c.fail(err)
		return
	}
	c.flags |= flagBroken | flagReset
	if c.kind.isSocket() && !errors.Is(err, unix.EPIPE) {
		c.flags |= flagCut // a reset behind FIN is EPIPE (tcp_reset in Linux)
	}
	c.setReason(err)
	l.discard(c)
	c.readOn() // to EAGAIN, which then ends it
}

// store replaces the kept input; rest does not alias it. The ledger is the
// caller's.
func (l *Loop) store(c *Conn, rest []byte) {
	if n := cap(c.Input()); n < len(rest) || n > 4*max(len(rest), poolMin) {
		l.releaseInput(c)
		c.in = l.pool.message(len(rest))
		l.queued += c.inputCost()
	}
	c.in.buf = append(c.in.buf[:0], rest...)
}

// inputCost is what the kept input takes of the loop's memory bound.
func (c *Conn) inputCost() int64 {
	if c.in == nil {
		return 0
	}
	return messageSize + int64(cap(c.in.buf))
}

// releaseInput gives the kept input's buffer back.
func (l *Loop) releaseInput(c *Conn) {
	if c.in == nil {
		return
	}
	l.queued -= c.inputCost()
	l.pool.recycle(c.in)
	c.in = nil
	l.weigh(c)
}

// ended passes the peer's FIN, after all its bytes. hungUp says that the kernel
// reported both directions closed: then, and after CloseWrite, nothing can be sent
// either, and ended ends the connection if the handler does not.
func (l *Loop) ended(c *Conn, hungUp bool) {
	if c.flags&flagCut != 0 { // no FIN: after a reset the kernel reports an end as well
		l.broken(c, c.reason())
		return
	}
	c.flags |= flagEOF
	c.lastIn = l.clock // a FIN is a sign of life, too
	switch c.state {
	case stateOpen:
		l.enter()
		c.h.EOF(c)
		if hungUp || c.sentFIN() || c.flags&flagBroken != 0 {
			c.fail(c.lost())
		}
		l.leave()
	case stateLingering:
		l.enter()
		c.fail(c.reason())
		l.leave()
	}
}

// lost is the reason of a connection that ends with its peer gone: unsent
// output makes it an error even where the handler saw an orderly end.
func (c *Conn) lost() error {
	if c.reason() == nil && c.Queued() > 0 {
		return os.NewSyscallError("send", unix.EPIPE)
	}
	return c.reason()
}

// broken ends a connection whose input failed with err; the bytes that came
// before it were delivered.
func (l *Loop) broken(c *Conn, err error) {
	if c.state == stateLingering || c.reason() != nil {
		err = c.reason()
	}
	l.enter()
	c.fail(err)
	l.leave()
}

// reading makes sure that a connection whose reading may go on is served.
func (c *Conn) reading() {
	if !c.mayRead() {
		return
	}
	c.lastIn = c.loop.clock
	if c.in != nil || c.flags&flagInData != 0 {
		c.flags |= flagReplay
	}
	c.watchDeadline()
	c.makeReady()
}

// mayRead reports whether Data and EOF may be called.
func (c *Conn) mayRead() bool {
	return c.state == stateOpen && c.flags&flagPaused == 0 && (c.flags&flagFull == 0 || c.opts.Overflow != Pause)
}
