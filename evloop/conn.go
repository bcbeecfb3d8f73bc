// SPDX-License-Identifier: Apache-2.0

package evloop

import "time"

// A ConnID names a connection for its whole life and never another one. It is
// the only handle that may leave the loop's goroutine. The zero value names
// nothing.
type ConnID struct {
	loop      *Loop
	slot, gen uint32
}

// A Conn is a stream of bytes: TCP, a Unix stream or seqpacket socket, a tty,
// a FIFO or a pipe end.
//
//	         CloseAfterFlush            sent, FIN            peer's FIN, timeout
//	open ─────────────────► flushing ──────────► lingering ──────────┐
//	 │                          │                    │               ▼
//	 └──────────────────────────┴────────────────────┴──────────►  dead ─► Closed
//	    Abort, overflow, error, EOF with nothing to send
type Conn struct {
	// State is the handler's. For an accepted connection it starts as what
	// Acceptor.Accept returned, for an adopted one as what Add was given.
	State any

	loop *Loop
	h    Handler
	opts *Options

	fd        int32
	slot, gen uint32
	timers    uint32 // head of the chain of its Timers, plus one
	flags     connFlags
	state     connState
	kind      fdKind
	edge      edge // the back end's

	in  *Message // kept input, from the pool; nil when there is none
	out *queue   // noQueue while there is nothing to remember of output

	lastIn  Time // on Loop.clock: when something was received, or reading was resumed
	lastOut Time // on Loop.clock: when output last made progress, or began to wait

	bytesIn, bytesOut uint64
	trouble           *trouble // nil: no message was dropped, and no reason to end is known
	held              uint32   // bytes of buffers in which the ring holds input
	acked             uint32   // low bits of how much output had left the kernel when it was last asked
	until             Time     // on Loop.clock: deadline of flushing and lingering
}

type connState uint8

const (
	stateOpen connState = iota
	stateFlushing
	stateLingering
	stateDead   // on the dead list, Closed is due
	stateBuried // Closed was called
)

type connFlags uint32

const (
	flagPaused   connFlags = 1 << iota // by the handler, or while what it relays waits
	flagFull                           // the queue reached the high-water mark
	flagDrained                        // Drained is due
	flagReplay                         // kept input is to be shown again
	flagReady                          // on the ready list
	flagDirty                          // on the dirty list
	flagReport                         // on the list of drops to report, or on the ready list for them
	flagEOF                            // the peer's FIN was read
	flagBroken                         // output failed; reason says why
	flagReset                          // close by RST
	flagDetached                       // the descriptor belongs to the caller of DetachAll
	flagLeaving                        // chosen by DetachAll, and not yet out of the back end
	flagInData                         // inside Data
	flagBounded                        // the kernel was given a bound for unsent output
	flagRoom                           // on the ready list because the kernel has room again
	flagOwed                           // the handler owes a reply: HoldIdle
	flagOnWay                          // the kernel had output when it was last asked
	flagLate                           // lingering was prolonged
	flagCut                            // input has failed, for reason; what was kept came before that
	flagShut                           // CloseWrite was called
	flagFINDue                         // and FIN has yet to follow what is queued
	flagLent                           // another process serves the peer: Lend
	flagTapped                         // output is told to Loop.tap
)

// ID returns the connection's name.
func (c *Conn) ID() ConnID { return ConnID{c.loop, c.slot, c.gen} }

// FD returns the descriptor, which stays the loop's, or -1 after the end.
func (c *Conn) FD() int { return int(c.fd) }

// Loop returns the loop that serves the connection.
func (c *Conn) Loop() *Loop { return c.loop }

// BytesIn returns how many bytes were received.
func (c *Conn) BytesIn() uint64 { return c.bytesIn }

// BytesOut returns how many bytes the kernel has taken.
func (c *Conn) BytesOut() uint64 { return c.bytesOut }

// Idle returns for how long no byte has moved, as Options.IdleTimeout counts it: on a
// clock that stands still while the loop is late.
func (c *Conn) Idle() time.Duration {
	c.loop.checkCaller()
	return max(0, c.loop.clock.Sub(max(c.lastIn, c.lastOut)))
}

// Dropped returns how many messages the overflow policy has dropped.
func (c *Conn) Dropped() uint64 { return c.troubles().dropped }

// Unsent returns how many bytes of output were thrown away because the
// connection has ended, or because the kernel refuses its output and it is about
// to end. Messages of Dropped are not among them. It is 0 before that and after
// DetachAll. Closed may ask for it.
func (c *Conn) Unsent() int { return int(c.troubles().unsent) }

// Input returns the bytes that Data has left unconsumed. They are the loop's.
func (c *Conn) Input() []byte {
	if c.in == nil {
		return nil
	}
	return c.in.buf
}

// Queued returns how many bytes wait to be sent.
func (c *Conn) Queued() int {
	c.loop.checkCaller()
	n := int(c.out.bytes)
	if c.loop.gather.c == c {
		n += c.loop.gather.bytes
	}
	return n
}

// Full reports whether Options.Queue bytes wait to be sent. A handler that
// answers many questions of one Data call stops at a full queue and returns
// what it consumed; the loop shows it the rest when the queue has drained.
func (c *Conn) Full() bool { return c.flags&flagFull != 0 }

// Closing reports whether the end has begun: Write returns false, and Data
// and EOF are not called any more.
func (c *Conn) Closing() bool { return c.state != stateOpen }

// SetOptions sets the bounds of the connection. o is shared, not copied, and
// must not change afterwards; nil means the defaults. The time for which the
// connection has been silent, or its output has waited, goes on counting.
func (c *Conn) SetOptions(o *Options) {
	c.loop.checkCaller()
	if o == nil {
		o = defaultOptions
	}
	held, exempt := !c.mayRead(), c.opts.Exempt
	c.bound(o.queue())
	c.opts = o
	c.loop.weigh(c)
	c.checkFull()
	if c.flags&flagFull != 0 {
		c.makeDirty() // it may already be below the new low-water mark
	}
	if held {
		c.reading() // the new policy may read on where the old one did not
	}
	c.watchDeadline()
	if exempt {
		c.loop.collectDebt() // what it owes may be over the bound already
	}
}

// leastKernelQueue keeps small queues from costing a system call for each
// message.
const leastKernelQueue = 4 << 10

// bound has the kernel keep about as much unsent output as the queue takes. By
// itself it would keep megabytes, which no other bound covers, and a peer that
// is slow would read what is long out of date. A relay has it keep more for a while.
//
// Most TCP connections never send so much in all, and need no system call: see boundFor.
// A Unix socket counts memory, of which a few bytes may take a kilobyte.
func (c *Conn) bound(queue int) {
	switch {
	case c.state != stateOpen:
	case c.flags&flagBounded == 0:
		if c.kind&kindTCP == 0 || c.bytesOut > uint64(kernelQueue(queue)) {
			c.setBound(queue, 0)
		}
	case queue != c.opts.queue() || c.wide():
		c.setBound(queue, kernelQueue(c.opts.queue()))
	}
}

// boundFor is called before the kernel gets n bytes of a connection that it has no bound
// for yet. With them it may hold more than the bound for the first time.
func (c *Conn) boundFor(n int) {
	if q := c.opts.queue(); c.bytesOut+uint64(n) > uint64(kernelQueue(q)) {
		c.setBound(q, 0)
	}
}

func (c *Conn) setBound(queue, before int) {
	c.flags |= flagBounded
	c.loop.sys.boundOutput(c, kernelQueue(queue), before)
}

// kernelQueue returns the bound for the kernel.
func kernelQueue(queue int) int { return max(queue, leastKernelQueue) }

// KernelQueued returns how much output the kernel has taken and still holds
// (SIOCOUTQ, tcp(7)). On TCP these are the bytes that the peer has not
// acknowledged, on a Unix socket it is the memory of what the peer has not read.
// It is a system call.
func (c *Conn) KernelQueued() int {
	c.loop.checkCaller()
	if c.fd < 0 || !c.kind.isSocket() {
		return 0
	}
	return c.loop.sys.unsent(int(c.fd))
}

// KernelInput returns how much input the kernel holds that was not read yet (SIOCINQ, tcp(7)
// and unix(7)): a handler that ends the connection may tell what is lost with it. It is a
// system call. 0 for a descriptor that is no socket, and if the kernel does not tell.
func (c *Conn) KernelInput() int {
	c.loop.checkCaller()
	if c.fd < 0 || !c.kind.isSocket() {
		return 0
	}
	return c.loop.sys.unread(int(c.fd))
}

// Options returns the bounds of the connection: what SetOptions was given, or
// the defaults. They must not be changed.
func (c *Conn) Options() *Options { return c.opts }

// SetHandler gives the connection to another handler, and another State. h gets all
// callbacks from now on, but not Open, and no EOF that has come already. Input that is
// kept is shown to h in the next turn. It must not be called inside Data of the
// connection, of which only the loop knows yet how much it consumes. Counters, options
// and deadlines stay as they are.
func (c *Conn) SetHandler(h Handler, state any) {
	c.loop.checkCaller()
	c.h, c.State = h, state
	if c.in != nil {
		c.Yield()
	}
}

// Pause stops Data and EOF until Resume.
func (c *Conn) Pause() {
	c.loop.checkCaller()
	c.flags |= flagPaused
}

// Resume ends a Pause. Data that was held back comes in a later turn.
func (c *Conn) Resume() {
	c.loop.checkCaller()
	if c.flags&flagPaused == 0 || c.flags&flagLent != 0 {
		return
	}
	c.flags &^= flagPaused
	c.reading()
}

// Yield, called in Data, has what the call leaves unconsumed shown again in
// the next turn, without waiting for further bytes. It is for a handler to
// which little input means much work, such as a line for a thousand members:
// the other connections get their turn in between.
func (c *Conn) Yield() {
	c.loop.checkCaller()
	if c.state == stateOpen {
		c.flags |= flagReplay
		c.makeReady()
	}
}
