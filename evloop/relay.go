// SPDX-License-Identifier: Apache-2.0

package evloop

// A relay has little to do with the bytes that it passes on. While one connection sends
// much, they can go to the other inside the kernel, by splice(2), which takes about
// half of the time of copying them:
//
//	            two full reads in a row
//	Data ────────────────────────────────► splice: socket ─► pipe ─► socket
//	  ▲                                      │
//	  └──────────────────────────────────────┘
//	      a read that is not full, a tap, a receiver with output queued
//
// The loop has one pipe, which is empty again before anything else happens: what the
// receiver does not take is read back, into its queue. So queues, ends, restarts and the
// memory bound know nothing of it. A pipe for each direction was the alternative. It could
// wait for the receiver, but it would cost descriptors and would be a second queue.

// A Relayer is a Handler that passes on what its connections receive, as it is. It is
// asked on the loop's goroutine while a TCP connection sends as much as a turn reads.
type Relayer interface {
	// Relay returns the connection that gets what c receives next, behind what it has
	// queued already, or nil if Data is to have it. Bytes that go this way count as
	// received and sent, but Data does not see them. If the other connection does not
	// take all, it becomes full, and c is paused as by Pause: Drained of the other is
	// to resume it. What it has queued then may exceed Options.Queue by what a turn
	// passes on. Only bytes between two TCP connections go this way, and none to one
	// that is tapped (Conn.Tap).
	//
	// The other must be a connection of the same loop. Relay only answers: it must not
	// write to any connection, end or pause it.
	Relay(c *Conn) *Conn
}

const (
	// spliceGain is how many bytes splice moves for each that a read may take of the
	// budget: 128 KiB in place of 64 KiB, which takes about as long. More in a turn is
	// cheaper by the byte where TCP paces what it sends (BBR), but others wait for it:
	// bench/README.md has the figures.
	spliceGain = 2
	// relayUnsent is how much unsent output the kernel may hold of a connection that is
	// relayed to, if Options.Queue is less. It must take what a turn moves, and as
	// much again that is being sent.
	relayUnsent = 1 << 20
)

// relay returns the connection to which input of c may go by splice, or nil.
func (c *Conn) relay() *Conn {
	r, ok := c.h.(Relayer)
	if !ok || c.state != stateOpen || c.kind&kindTCP == 0 || c.in != nil {
		return nil
	}
	to := r.Relay(c)
	if to == nil || to.kind&kindTCP == 0 || to.flags&(flagTapped|flagFull|flagFINDue) != 0 || !to.mayWrite() || to.Queued() > 0 {
		return nil
	}
	return to
}

// relayed notes that n bytes of c have left its socket, and all but the last left of
// them have gone out on to.
func (l *Loop) relayed(c, to *Conn, n, left int) {
	c.bytesIn += uint64(n)
	c.lastIn = l.clock
	l.work.left -= callWork
	if sent := n - left; sent > 0 {
		to.bytesOut += uint64(sent)
		to.lastOut = l.clock
		l.work.left -= sent / workBytes
	}
}

// relayRest queues for to what it has not taken, and stops c until it has.
func (l *Loop) relayRest(c, to *Conn, left int) {
	for left > 0 {
		p := l.rbuf[:min(left, readSize)]
		n, err := l.sys.readBack(p)
		if err != nil { // what is lost must not look like an end
			c.Abort(err)
			to.Abort(err)
			return
		}
		l.enqueueCopy(to, p[:n])
		left -= n
	}
	to.flags |= flagFull
	c.flags |= flagPaused
	to.queuedSome()
}
