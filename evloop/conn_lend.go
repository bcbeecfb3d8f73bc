// SPDX-License-Identifier: Apache-2.0

package evloop

import "fmt"

// A connection may be served by another process, which has got the descriptor as its
// standard input and output. The loop then keeps it as a place that is taken, and as the
// one that ends it:
//
//	Open ── Lend ──► lent ── CloseAfterFlush ──► lingering ──► dead
//	                  └───── Abort ────────────────────────────►
//
// Its end is that of any other connection, so it needs no code of its own in the handler.
// To hand the descriptor over and forget it was the alternative. But where a process ends
// with input unread, the kernel answers with RST, which destroys a reply that is on its
// way. Only somebody who reads on can prevent that.

// Lend, called in Open, leaves the peer to another process: the loop reads nothing,
// writes nothing and costs nothing until CloseAfterFlush, which takes the connection
// back to end it in order, or Abort. The handler passes FD on and calls one of the two
// when the other process has ended. Of the options only the kernel's part of Queue has an
// effect meanwhile. Data and EOF are not called, Write returns false, and DetachAll returns ErrBusy for it. Only sockets can
// be lent. The error is that of the back end; the connection then stays as it was.
func (c *Conn) Lend() error {
	c.loop.checkCaller()
	if !c.kind.isSocket() || c.state != stateOpen || c.bytesIn > 0 {
		return fmt.Errorf("evloop: lend fd %d: %w", c.fd, ErrBusy)
	}
	if err := c.loop.be.detach([]*Conn{c}); err != nil {
		return fmt.Errorf("evloop: lend fd %d: %w", c.fd, err)
	}
	c.flags |= flagPaused | flagLent
	if c.flags&flagBounded == 0 {
		c.setBound(c.opts.queue(), 0) // what the other process sends does not pass here
	}
	return nil
}

// takeBack has the back end serve a lent connection again, for its end.
func (c *Conn) takeBack() error {
	c.flags &^= flagLent
	return c.loop.be.open(c)
}
