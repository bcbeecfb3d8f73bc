// SPDX-License-Identifier: Apache-2.0

package evloop

// An edge is what a back end remembers of a connection because the kernel says
// it only once. Only the io_* files look at it (TestEdgesStayWithTheBackEnd).
// The rest of the package speaks of bytes that came and bytes that must go, and
// asks the few questions below.
//
// Flags of Conn were the alternative. Other files would then read and change
// them, and a mistake about readiness could be anywhere.
type edge uint16

const (
	edgeReadable edge = 1 << iota // the descriptor was not yet read to EAGAIN
	edgeHup                       // the kernel reported HUP or ERR
	edgeMark                      // a short read does not mean drained
	edgeStuck                     // the kernel took less than it was offered, and has not reported room since
	edgeArmed                     // EPOLLOUT is registered; not used for connections of the ring
	edgeNoRights                  // the peer can pass no descriptors any more
	edgePlain                     // edgeNoRights, and nothing that was passed before is still to be read
	edgeBlocks                    // no socket, and the kernel does not know RWF_NOWAIT for it
	edgeOwn                       // nobody else has the open file description (AddOwn)
	edgeOffered                   // on the ring's list of output to offer
	edgeBulk                      // left to epoll by the ring
	edgeHeld                      // a Restore is not done: edgeStuck stays
	edgeNoWait                    // and is set for nothing else
	edgeFull                      // the last read has brought all that was asked for
	edgeFlood                     // and the one before
	edgeWide                      // the kernel keeps relayUnsent of output
)

// unread reports whether there may be input that the kernel does not report
// again.
func (c *Conn) unread() bool { return c.edge&edgeReadable != 0 }

// stuck reports whether the kernel is known to have no room for output.
func (c *Conn) stuck() bool { return c.edge&edgeStuck != 0 }

// putsOff reports whether output of c waits for the end of the turn. It must outlive the
// callback then.
func (c *Conn) putsOff() bool {
	u, rings := c.loop.be.(*ring)
	return rings && u.serves(c)
}

// wide reports whether the kernel keeps as much output as a flood needs, and not what
// Options say.
func (c *Conn) wide() bool { return c.edge&edgeWide != 0 }

// readOn has c read to EAGAIN, whatever the last read has found.
func (c *Conn) readOn() {
	c.edge |= edgeReadable | edgeMark
	c.makeReady()
}

// marked reports whether something stands behind the bytes that are to be read.
// A new registration may not report it again, so DetachAll saves it.
func (c *Conn) marked() bool { return c.edge&edgeMark != 0 }

// holdOutput has a connection that is restored send nothing until letOutput,
// whatever its handler writes. One that waits for room goes on waiting then.
func (c *Conn) holdOutput() {
	if c.edge |= edgeHeld; c.edge&edgeStuck == 0 {
		c.edge |= edgeStuck | edgeNoWait
	}
}

func (c *Conn) letOutput() {
	if c.edge&edgeNoWait != 0 {
		c.edge &^= edgeStuck
	}
	c.edge &^= edgeHeld | edgeNoWait
}

// own is for a connection whose O_NONBLOCK nobody else can clear.
func (c *Conn) own() { c.edge |= edgeOwn }

// mark is for a connection that is restored and was marked.
func (c *Conn) mark() { c.edge |= edgeMark }
