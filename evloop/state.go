// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"

	"golang.org/x/sys/unix"
)

// A connection carried to another process, or another loop, is its descriptor
// and this record. The record is written by hand: encoding/gob would carry
// type descriptions for every connection, and a struct dump would tie the new
// binary to the old one's layout.
//
//	version  1 byte
//	flags    1 byte: saved* below
//	numbers  uvarint each: bytesIn bytesOut dropped lastIn lastOut until off
//	strings  uvarint length and bytes each: reason, kept input, handler's state
//	count    uvarint, then as many strings: the messages of the queue, whole;
//	         off bytes of the first have gone out already
//	crc32    4 bytes, IEEE, over all that precedes
const stateVersion = 1

const (
	savedPaused   = 1 << iota
	savedEOF      // the peer's FIN was read
	savedMark     // a short read does not mean drained
	savedFlushing // CloseAfterFlush was called
	savedRest     // the first message is the rest of one that has begun to go out
	savedBroken   // input has failed, for the reason given, behind what was kept
)

// savedFlags are those of a connection that are carried as they are.
var savedFlags = [...]struct {
	flag connFlags
	bit  byte
}{{flagPaused, savedPaused}, {flagEOF, savedEOF}, {flagMark, savedMark}, {flagBroken, savedBroken}}

// savedInput is the most input that is carried along: what a handler has left,
// and what a ring has received ahead of it, in all its buffers and again before
// the receive has stopped.
const savedInput = DefaultMaxInput + readSize + 2*maxRingMemory

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
	l := c.loop
	if c.state > stateFlushing || c.flags&(flagInData|flagBroken) != 0 {
		return -1, nil, fmt.Errorf("evloop: detach: %w", os.NewSyscallError("connection is in use or ending", unix.EBUSY))
	}
	var state []byte
	if r, ok := c.h.(Restorer); ok {
		if state, err = r.Saved(c); err != nil {
			return -1, nil, fmt.Errorf("evloop: detach: %w", err)
		}
	}
	l.spill(c)
	c.HoldIdle(false) // to be held again in Restored; the time until now was none of idleness
	fd = int(c.fd)
	c.flags |= flagDetached
	l.be.end(c)
	saved = c.encode(state)
	l.enter()
	c.fail(ErrDetached)
	l.leave()
	return fd, saved, nil
}

// encode writes the record.
func (c *Conn) encode(state []byte) []byte {
	var flags byte
	for _, f := range savedFlags {
		if c.flags&f.flag != 0 {
			flags |= f.bit
		}
	}
	if c.state == stateFlushing {
		flags |= savedFlushing
	}
	if c.out.rest {
		flags |= savedRest
	}
	b := []byte{stateVersion, flags}
	lag := c.loop.lag()
	for _, n := range [...]uint64{
		c.bytesIn, c.bytesOut, uint64(c.dropped),
		uint64(c.lastIn + lag), uint64(c.lastOut + lag), uint64(c.until.Add(lag.Sub(0))), uint64(c.out.off),
	} {
		b = binary.AppendUvarint(b, n)
	}
	reason := ""
	if c.reason != nil {
		reason = c.reason.Error()
	}
	b = appendString(b, []byte(reason))
	b = appendString(b, c.in)
	b = appendString(b, state)
	nodes, count := c.loop.nodes.nodes, uint64(0)
	for i := c.out.head; i != 0; i = nodes[i-1].next {
		count++
	}
	b = binary.AppendUvarint(b, count)
	for i := c.out.head; i != 0; i = nodes[i-1].next {
		b = appendString(b, nodes[i-1].data())
	}
	return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

func appendString(b, s []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// Restore rebuilds a connection around fd from what Detach returned, in this
// or another process of the same boot, and owns fd from success on. state
// becomes c.State, and o its bounds, as by SetOptions: deadlines go on from
// where they were. A Restorer gets Restored in the place of Open, any other
// handler gets Open. Errors: ErrState, those of Add, and that of Restored.
// Loop only, or before Run.
func (l *Loop) Restore(fd int, h Handler, state any, o *Options, saved []byte) (*Conn, error) {
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
	l.collectDebt()
	c.watchDeadline()
	c.makeDirty() // what was saved may have been flushed already, or too much
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
	c.state = stateBuried
	l.conns.remove(c.slot)
}

// record is a decoded state. The slices alias what was decoded.
type record struct {
	flags                                                   byte
	bytesIn, bytesOut, dropped, lastIn, lastOut, until, off uint64
	reason, in, state                                       []byte
	messages                                                [][]byte
}

// decode reads b strictly: every byte belongs to a field, and sizes are those
// that a loop can have written.
func (r *record) decode(b []byte) error {
	n := len(b) - 4
	if n < 2 || b[0] != stateVersion || crc32.ChecksumIEEE(b[:n]) != binary.LittleEndian.Uint32(b[n:]) {
		return ErrState
	}
	r.flags = b[1]
	d := decoder{b: b[2:n]}
	for _, p := range [...]*uint64{&r.bytesIn, &r.bytesOut, &r.dropped, &r.lastIn, &r.lastOut, &r.until, &r.off} {
		*p = d.number()
	}
	r.reason, r.in, r.state = d.string(), d.string(), d.string()
	for range min(d.number(), uint64(len(d.b))) {
		r.messages = append(r.messages, d.string())
	}
	first := 0
	if len(r.messages) > 0 {
		first = len(r.messages[0])
	}
	if d.bad || len(d.b) > 0 || len(r.in) > savedInput || (r.off > 0 && r.off >= uint64(first)) {
		return ErrState
	}
	return nil
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
	c.reason = reasonOf(string(r.reason))
	if n := len(r.in); n > 0 {
		if n > len(l.rbuf) { // it is shown in one piece, like all that was kept
			l.rbuf = make([]byte, n)
		}
		l.store(c, r.in)
		c.flags |= flagReplay // it may be complete: a pause can have held it back
		c.makeReady()
	}
	for _, m := range r.messages {
		if len(m) > 0 {
			l.enqueue(c, NewMessage(append([]byte(nil), m...)))
		}
	}
	c.out.rest = r.flags&savedRest != 0 && c.out.head != 0
	c.out.off, c.out.bytes = uint32(r.off), c.out.bytes-uint32(r.off)
	l.weigh(c)
	c.lastOut = Time(r.lastOut) - lag
	c.checkFull()
	if c.out.bytes > 0 {
		c.flags |= flagArmed // ADD reports room at once
	}
	if r.flags&savedFlushing != 0 {
		c.state = stateFlushing
	}
}

// reasonOf returns the package's error of that text, or one that says it.
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

// A decoder reads numbers and strings until the first that is not there.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) number() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) string() []byte {
	n := d.number()
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	s := d.b[:n:n]
	d.b = d.b[n:]
	return s
}
