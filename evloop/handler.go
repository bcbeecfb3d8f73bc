// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"math"
	"net/netip"
)

// A Handler serves all connections of one service; what one connection
// remembers is in its State. The loop calls the methods on its own goroutine,
// never two at once, and never one inside another of the same connection.
//
//	Open ─► Data … ─► EOF ─► Closed
//	          ▲ └── Drained whenever a full queue has emptied
//
// Any method may write to, pause, close or abort its own or any other
// connection of the loop.
type Handler interface {
	// Open is the first call. For an accepted connection State is what
	// Accept returned.
	Open(c *Conn)

	// Data hands over bytes that came and returns how many it consumed. The
	// loop keeps the rest, at most Options.MaxInput bytes, and shows it again
	// in front of further bytes, or alone after Resume or after a full queue
	// has drained. p is the loop's and valid only during the call.
	Data(c *Conn, p []byte) (n int)

	// EOF says that the peer has shut its side (FIN, HUP of a pipe). Output
	// still flows; the handler ends the connection with CloseAfterFlush when it
	// has no more to say. Input that will now never be complete is c.Input();
	// Data may still get it once more, after Resume or when a full queue has
	// drained. EOF is not called while paused.
	EOF(c *Conn)

	// Drained says that the queue had reached Options.Queue and has fallen to
	// Options.LowWater. It comes in a turn of its own, never inside Write.
	Drained(c *Conn)

	// Closed is the last call, exactly one for each Open or Restored. The
	// descriptor is closed already. err is nil for an orderly end, the reason
	// given to CloseAfterFlush or Abort, one of the package's errors, or a
	// system error.
	Closed(c *Conn, err error)
}

// Base has the methods of a [Handler] that most services write alike; embed it
// and write Data and Closed. It sends nothing at the start, and ends the
// connection when the peer has ended its input: what is queued goes out first,
// for as long as the peer reads (Options.StallTimeout). A handler that writes
// more than a queue takes needs a Drained of its own.
type Base struct{}

// Open does nothing.
func (Base) Open(*Conn) {}

// EOF ends the connection when its output has gone out.
func (Base) EOF(c *Conn) { c.CloseAfterFlush(math.MaxInt64, nil) }

// Drained does nothing.
func (Base) Drained(*Conn) {}

// A Dropper is a Handler that wants to know what the overflow policy threw
// away. Dropped reports whole messages since the last call, once the
// outermost callback has returned, so that nothing is lost in silence. It may
// write; what is dropped for that is reported in the next turn.
type Dropper interface {
	Dropped(c *Conn, messages, bytes int)
}

// A Restorer is a Handler whose connections remember something that must
// survive DetachAll and a Restore.
type Restorer interface {
	// Saved returns c.State as bytes, with the deadlines of timers of c. It is
	// asked for a connection whose end has begun, too.
	Saved(c *Conn) ([]byte, error)
	// Restored takes the place of Open; state is what Saved returned. Timers
	// and HoldIdle begin anew here. It may write, which goes out after Done. An
	// error makes Restore.Conn fail; the descriptor then still belongs to the
	// caller, and Closed is not called.
	Restored(c *Conn, state []byte) error
}

// An Acceptor decides about each new connection of a Listener.
type Acceptor interface {
	// Accept returns the handler that serves the connection and its first
	// State, or a nil handler to refuse: the loop then closes fd. peer is zero
	// for Unix sockets; SO_PEERCRED on fd tells who the peer is (unix(7)). fd
	// stays the loop's. It may be called again for the same client, see
	// Listener.PutOff.
	Accept(ln *Listener, fd int, peer netip.AddrPort) (h Handler, state any)

	// Failed reports an error of accept4(2) that is not about one client. If
	// ln.Dead() is true, the listener will not be read again. Otherwise
	// something is short, such as descriptors or memory: the loop waits and
	// tries again by itself, and calls Failed once for the whole shortage.
	Failed(ln *Listener, err error)
}

// A WatchHandler is told about events of a watched descriptor.
type WatchHandler interface {
	// Ready passes the EPOLL* bits that were reported (epoll_ctl(2)). Events
	// are edge-triggered: consume until EAGAIN.
	Ready(w *Watch, events uint32)
}

// A TimerHandler is told when a Timer has expired.
type TimerHandler interface {
	// Expired is called once, at or after t.Deadline. For a timer with a Conn
	// l.Conn(t.Conn) is never nil.
	Expired(l *Loop, t Timer)
}
