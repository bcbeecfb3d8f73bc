// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"errors"
	"fmt"
	"math"
)

// ErrState means that a saved connection could not be read back, because the
// bytes are damaged or another version of the package wrote them.
var ErrState = errors.New("evloop: damaged or foreign state of a connection")

// A Carried is a connection that DetachAll has taken out of its loop.
type Carried struct {
	FD     int    // the descriptor, which is the caller's now
	State  any    // what Conn.State was
	Record []byte // for Restore.Conn
	Err    error  // why the connection could not be taken; the rest is zero then
}

// DetachAll takes connections out of the loop without closing them, all at the
// same moment. For each of them, in order, it returns the descriptor and a
// record of what the loop knows: kept input, queued output, pause, deadlines,
// counters, an end that has begun, and what a Restorer says of State. messages
// has the messages that several queues share. Both are for a Restore, in this or
// another process of the same boot.
//
// DetachAll belongs between two turns, as in a posted function or a timer.
// Nothing is read or written for a connection any more when it returns. Closed
// follows with ErrDetached once the outermost callback has returned. Timers of
// the connection are cancelled, and HoldIdle is over. A handler that needs them
// after the restart writes their deadlines (a Time holds until the next boot)
// into what Saved returns, and schedules them anew in Restored. A timer that
// belongs to no connection stays with its loop, so a service does the same with
// its own. Drops that were not told yet are told in the next loop.
//
// The handler's view of the others is its own affair: Closed with ErrDetached is
// no farewell, and a room does not announce it.
//
// A connection that cannot be taken stays as it is, and Err says why: ErrBusy
// inside its own Data, for one that is over and waits for Closed, and for one
// that is named twice; the error of Saved; or the error of an io_uring that has
// failed, with which Run is about to end.
func (l *Loop) DetachAll(conns []*Conn) (carried []Carried, messages []byte) {
	l.checkCaller()
	l.enter()
	carried = make([]Carried, len(conns))
	states := make([][]byte, len(conns))
	for i, c := range conns {
		states[i], carried[i].Err = c.leaves()
	}
	var leaving []*Conn
	for i, c := range conns {
		switch {
		case carried[i].Err != nil:
		case c.state >= stateDead: // it was ended while Saved was called for another
			c.flags &^= flagLeaving
			carried[i].Err = fmt.Errorf("evloop: detach: %w", ErrBusy)
		default:
			leaving = append(leaving, c)
		}
	}
	err := l.be.detach(leaving)
	var table carriedTable
	for i, c := range conns {
		switch {
		case carried[i].Err != nil:
		case err != nil:
			c.flags &^= flagLeaving
			carried[i].Err = fmt.Errorf("evloop: detach: %w", err)
		default:
			carried[i] = Carried{FD: int(c.fd), State: c.State, Record: c.takeOut(states[i], &table)}
		}
	}
	l.leave()
	return carried, table.encode()
}

// leaves asks the handler for its state of a connection that is to be detached,
// and marks it. A second call for the same one finds the mark.
func (c *Conn) leaves() (state []byte, err error) {
	if c.state >= stateDead || c.flags&(flagInData|flagLeaving|flagLent) != 0 {
		return nil, fmt.Errorf("evloop: detach: %w", ErrBusy)
	}
	c.flags |= flagLeaving
	if r, ok := c.h.(Restorer); ok {
		if state, err = r.Saved(c); err != nil {
			c.flags &^= flagLeaving
			return nil, fmt.Errorf("evloop: detach: %w", err)
		}
	}
	return state, nil
}

// takeOut writes the record of a connection that the back end has let go of, and
// ends its time in this loop.
func (c *Conn) takeOut(state []byte, table *carriedTable) []byte {
	l := c.loop
	l.spill(c)
	c.HoldIdle(false) // Restored holds it again; the time until now does not count as idle
	r := c.save(state, table)
	b := r.encode()
	c.reported() // in the next loop
	c.flags = c.flags&^flagLeaving | flagDetached
	c.fail(ErrDetached)
	return b
}

// save fills in the record. The slices are the connection's.
func (c *Conn) save(state []byte, table *carriedTable) record {
	lag, t := c.loop.lag(), c.troubles()
	r := record{
		kind:    uint64(c.kind),
		bytesIn: c.bytesIn, bytesOut: c.bytesOut, dropped: t.dropped,
		unreported: uint64(t.unreported), unreportedBytes: t.unreportedBytes,
		lastIn: uint64(c.lastIn + lag), lastOut: uint64(c.lastOut + lag),
		off: uint64(c.out.off), acked: uint64(c.acked), unsent: uint64(t.unsent), in: c.Input(), state: state,
		queue: c.carriedQueue(table),
	}
	for _, f := range savedFlags {
		if c.flags&f.flag != 0 {
			r.flags |= f.bit
		}
	}
	if c.marked() {
		r.flags |= savedMark
	}
	switch c.state {
	case stateFlushing:
		r.flags |= savedFlushing
	case stateLingering:
		r.flags |= savedLingering
	}
	if c.state != stateOpen {
		r.until = uint64(c.until.Add(lag.Sub(0)))
	}
	if c.out.rest {
		r.flags |= savedRest
	}
	if t.reason != nil {
		r.reason = []byte(t.reason.Error())
	}
	if c.flags&flagBounded != 0 {
		r.bound = uint64(c.opts.queue())
	}
	if c.wide() {
		r.bound = uint64(max(c.opts.queue(), relayUnsent)) // applyBound sets it back
	}
	return r
}

// carriedQueue returns the queue by its buffers. The nodes of a buffer are
// neighbours.
func (c *Conn) carriedQueue(table *carriedTable) (queue []carriedBuffer) {
	nodes, last := c.loop.nodes.nodes, (*Message)(nil)
	for i := c.out.head; i != 0; i = nodes[i-1].next {
		n := &nodes[i-1]
		switch {
		case n.m.shared():
			queue = append(queue, carriedBuffer{shared: table.number(n.m)})
		case n.m == last:
			e := &queue[len(queue)-1]
			e.pieces = append(e.pieces, n.data())
		default:
			queue = append(queue, carriedBuffer{count: uint64(n.m.count), pieces: [][]byte{n.data()}})
		}
		last = n.m
	}
	return queue
}

// savedFlags are the flags of a connection that are carried as they are.
// flagFull is one of them because it stays set while a full queue shrinks:
// without it, a handler that waits for Drained would wait for ever.
var savedFlags = [...]struct {
	flag connFlags
	bit  uint64
}{
	{flagPaused, savedPaused},
	{flagEOF, savedEOF},
	{flagLate, savedLate},
	{flagBroken, savedBroken},
	{flagCut, savedCut},
	{flagReset, savedReset},
	{flagFull, savedFull},
	{flagDrained, savedDrained},
	{flagOnWay, savedOnWay},
	{flagShut, savedShut},
	{flagFINDue, savedFINDue},
}

// fromTime returns a time of a record on a clock that is behind by lag. A
// deadline that never comes stays so.
func fromTime(saved uint64, lag Time) Time {
	if t := Time(saved); t < math.MaxInt64 {
		return t - lag
	}
	return never
}
