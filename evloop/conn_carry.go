// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrState means that a saved connection could not be read back.
var ErrState = errors.New("evloop: damaged or foreign state of a connection")

// knownReasons are errors that keep their identity across Restore, so that
// errors.Is goes on working.
var knownReasons = []error{
	ErrAborted, ErrFlushTimeout, ErrIdle, ErrInputFull, ErrMemory, ErrOverflow, ErrStalled,
	os.NewSyscallError("recv", unix.ECONNRESET),
}

// Detach takes the connection out of the loop without closing it: kept input,
// queued output, deadlines and what a Restorer says of State are returned as
// bytes for Restore, and the descriptor is the caller's. Closed follows with
// ErrDetached. Timers scheduled for the connection are cancelled, and HoldIdle
// is over; a handler does both again in Restored. Detach fails inside the
// connection's own Data, when it is not known yet what is consumed, and once
// the end has begun, except while CloseAfterFlush still has output to send. The
// connection then stays as it was.
func (c *Conn) Detach() (fd int, saved []byte, err error) {
	c.loop.checkCaller()
	l := c.loop
	if c.state > stateFlushing || c.flags&(flagInData|flagBroken) != 0 {
		return -1, nil, fmt.Errorf("evloop: detach: %w", ErrBusy)
	}
	var state []byte
	if r, ok := c.h.(Restorer); ok {
		if state, err = r.Saved(c); err != nil {
			return -1, nil, fmt.Errorf("evloop: detach: %w", err)
		}
	}
	l.spill(c)
	c.lookAtOutput()  // what has left since the last look is progress, too
	c.HoldIdle(false) // Restored holds it again; the time until now does not count as idle
	fd = int(c.fd)
	c.flags |= flagDetached
	l.be.end(c)
	r := c.save(state)
	saved = r.encode()
	l.enter()
	c.fail(ErrDetached)
	l.leave()
	return fd, saved, nil
}

// save fills in the record. The slices are the connection's.
func (c *Conn) save(state []byte) record {
	lag := c.loop.lag()
	r := record{
		bytesIn: c.bytesIn, bytesOut: c.bytesOut, dropped: c.dropped,
		lastIn: uint64(c.lastIn + lag), lastOut: uint64(c.lastOut + lag), until: uint64(c.until.Add(lag.Sub(0))),
		off: uint64(c.out.off), acked: uint64(c.acked), unsent: uint64(c.out.unsent), in: c.in, state: state,
	}
	for _, f := range savedFlags {
		if c.flags&f.flag != 0 {
			r.flags |= f.bit
		}
	}
	if c.marked() {
		r.flags |= savedMark
	}
	if c.state == stateFlushing {
		r.flags |= savedFlushing
	}
	if c.out.rest {
		r.flags |= savedRest
	}
	if c.reason != nil {
		r.reason = []byte(c.reason.Error())
	}
	nodes := c.loop.nodes.nodes
	for i := c.out.head; i != 0; i = nodes[i-1].next {
		r.messages = append(r.messages, nodes[i-1].data())
	}
	return r
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
	{flagBroken, savedBroken},
	{flagFull, savedFull},
	{flagDrained, savedDrained},
	{flagOnWay, savedOnWay},
}

// Restore rebuilds a connection around fd from what Detach returned, in this or
// another process of the same boot, and owns fd from success on. state becomes
// c.State, and o its bounds, as by SetOptions: deadlines go on from where they
// were. A Restorer gets Restored in place of Open; any other handler gets Open.
// Errors: ErrState, those of Add, and that of Restored.
func (l *Loop) Restore(fd int, h Handler, state any, o *Options, saved []byte) (*Conn, error) {
	l.checkCaller()
	var r record
	if err := r.decode(saved); err != nil {
		return nil, fmt.Errorf("evloop: restore fd %d: %w", fd, err)
	}
	c, err := l.adopt(fd, h, state)
	if err != nil {
		return nil, fmt.Errorf("evloop: restore fd %d: %w", fd, err)
	}
	if o != nil {
		c.opts = o
	}
	l.enter()
	defer l.leave()
	r.apply(c)
	if err = l.be.open(c); err == nil { // before the callback, which may write more than the kernel takes
		if rs, ok := h.(Restorer); !ok {
			h.Open(c)
		} else if err = rs.Restored(c, r.state); err != nil {
			c.flags |= flagDetached
			l.be.end(c)
		}
	}
	if err != nil {
		l.forget(c)
		return nil, fmt.Errorf("evloop: restore fd %d: %w", fd, err)
	}
	c.bound(c.opts.queue()) // nothing to do if the handler has called SetOptions
	l.owe(c)
	c.watchDeadline()
	c.makeDirty() // its flush finds out that nothing is left to send, or less than o.LowWater
	return c, nil
}

// forget undoes newConn and everything that was done to c since, without
// Closed and without closing the descriptor.
func (l *Loop) forget(c *Conn) {
	l.clearQueue(c)
	l.releaseInput(c)
	if l.gather.c == c {
		l.gather.reset()
	}
	l.cancelTimers(c)
	c.unreported, c.unreportedBytes = 0, 0 // there is nobody to tell
	c.state = stateBuried
	l.conns.remove(c.slot)
}

// apply gives a new connection what the record says.
func (r *record) apply(c *Conn) {
	l := c.loop
	c.bytesIn, c.bytesOut, c.dropped = r.bytesIn, r.bytesOut, r.dropped
	lag := l.lag()
	c.lastIn, c.until = Time(r.lastIn)-lag, Time(r.until)
	if c.until < never {
		c.until -= lag
	}
	for _, f := range savedFlags {
		if r.flags&f.bit != 0 {
			c.flags |= f.flag
		}
	}
	if r.flags&savedMark != 0 {
		c.mark()
	}
	if r.flags&savedBroken != 0 {
		c.flags |= flagCut
	}
	c.reason = reasonOf(string(r.reason))
	if n := len(r.in); n > 0 {
		if n > len(l.rbuf) { // it is shown in one piece, like all that was kept
			l.rbuf = make([]byte, n)
		}
		l.store(c, r.in)
		c.flags |= flagReplay // it may hold a whole message: a pause can have held it back
		c.makeReady()
	}
	for _, m := range r.messages {
		l.enqueueCopy(c, m) // short ones share buffers again, or they would owe more than before
	}
	c.out.rest = r.flags&savedRest != 0 && c.out.head != 0
	c.out.off, c.out.bytes = uint32(r.off), c.out.bytes-uint32(r.off)
	l.weigh(c)
	c.lastOut = Time(r.lastOut) - lag
	c.acked, c.out.unsent = uint32(r.acked), uint32(r.unsent)
	c.lookAtOutput() // what has left since Detach is progress, too
	c.checkFull()
	if c.flags&flagDrained != 0 {
		c.makeReady()
	}
	if r.flags&savedFlushing != 0 {
		c.state = stateFlushing
	}
}

// reasonOf returns the known error with that text, or else a new one.
func reasonOf(text string) error {
	if text == "" {
		return nil
	}
	for _, err := range knownReasons {
		if err.Error() == text {
			return err
		}
	}
	return errors.New(text)
}
