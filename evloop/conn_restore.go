// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// A Restore brings connections back that DetachAll has taken out of a loop of
// this or another process of the same boot.
//
//	r, err := l.NewRestore(messages)
//	…
//	for _, …  { c, err := r.Conn(fd, h, state, options, record) }
//	…                     // what must not fail behind the first byte
//	r.Done()
//
// Until Done nothing is read, written or told to a handler, except Restored, and
// nobody pays for Config.Memory: a process that dies before that has touched no
// client, and the next one can begin again. All of it, from NewRestore to Done,
// belongs into one callback, or to the time when Run does not run. Done must be
// called in any case.
type Restore struct {
	l     *Loop
	table []*Message
	conns []*Conn
	done  bool
}

// NewRestore begins. messages is what DetachAll has returned with the records; it
// is the caller's again afterwards. The errors are ErrState and ErrLoopClosed.
func (l *Loop) NewRestore(messages []byte) (*Restore, error) {
	l.checkCaller()
	if l.closed {
		return nil, fmt.Errorf("evloop: restore: %w", ErrLoopClosed)
	}
	table, err := decodeTable(messages)
	if err != nil {
		return nil, fmt.Errorf("evloop: restore: %w", err)
	}
	l.refresh()
	l.restoring++
	l.depth++ // so that nothing is settled before Done
	return &Restore{l: l, table: table}, nil
}

// Conn rebuilds a connection around fd from its record, and owns fd from success
// on. state becomes c.State, and o its bounds, as by SetOptions: deadlines go on
// from where they were, and a queue that holds more than o.Queue is full. A
// Restorer gets Restored in place of Open; any other handler gets Open. So does
// one whose end had begun (Closing), since Closed will follow. Errors: ErrState,
// with which the caller should close fd in order; ErrLoopClosed; those of
// epoll_ctl(2); and that of Restored.
func (r *Restore) Conn(fd int, h Handler, state any, o *Options, record []byte) (*Conn, error) {
	r.l.checkCaller()
	c, err := r.conn(fd, h, state, o, record)
	if err != nil {
		return nil, fmt.Errorf("evloop: restore fd %d: %w", fd, err)
	}
	r.conns = append(r.conns, c)
	return c, nil
}

func (r *Restore) conn(fd int, h Handler, state any, o *Options, b []byte) (*Conn, error) {
	l := r.l
	var saved record
	if err := saved.decode(b, r.table); err != nil {
		return nil, err
	}
	c, err := l.adoptKind(fd, fdKind(saved.kind), h, state)
	if err != nil {
		return nil, err
	}
	saved.apply(c, o, r.table)
	if err := l.be.open(c); err != nil { // before the callback, which may write more than the kernel takes
		l.forget(c)
		return nil, err
	}
	c.holdOutput()
	if rs, ok := h.(Restorer); !ok {
		h.Open(c)
	} else if err := rs.Restored(c, saved.state); err != nil {
		c.flags |= flagDetached
		_ = l.be.detach([]*Conn{c}) // cannot fail: nothing is under way yet
		l.forget(c)
		return nil, err
	}
	return c, nil
}

// A Saved is what a record says of its connection, for a caller that does not restore it.
type Saved struct {
	State []byte // what Restorer.Saved had to say; it aliases the record
	Rest  bool   // there is input that no handler has taken, or output that the kernel has not
	Ended bool   // the kernel has all output, and FIN behind it
}

// ReadSaved reads a record. It asks for no messages, since it looks into none. The error is
// ErrState.
func ReadSaved(b []byte) (Saved, error) {
	var r record
	if err := r.decodeAlone(b); err != nil {
		return Saved{}, err
	}
	return Saved{
		State: r.state,
		Rest:  len(r.in)+len(r.queue) > 0,
		Ended: r.flags&savedLingering != 0,
	}, nil
}

// Done lets the connections live. What is due to their handlers (Data for kept
// input, Drained, Dropped, EOF, Closed) comes in the next turns, like any news
// of the kernel. If more is queued than Config.Memory allows, connections pay
// now. A second call does nothing.
func (r *Restore) Done() {
	l := r.l
	l.checkCaller()
	if r.done || l.closed {
		return
	}
	r.done = true
	for _, c := range r.conns {
		if c.state < stateDead {
			c.letOutput()
			c.watchDeadline()
			if c.flags&flagBroken != 0 && c.flags&flagEOF != 0 {
				c.fail(c.lost()) // all was read: it was detached in the callback of that
			}
			c.flags |= flagRoom // its flush finds out that nothing is left to send, or less than o.LowWater
			c.makeReady()
		}
	}
	r.conns, r.table = nil, nil
	if l.depth == 1 { // the next turn settles what Restored has done
		l.posted = slices.Insert(l.posted, 0, posting{run: func() {}})
		if c := l.gather.c; c != nil {
			l.spill(c) // a deadline may come before, and output that waits is no idleness
			l.weigh(c)
		}
	}
	if l.restoring--; l.restoring == 0 {
		l.collectDebt()
	}
	l.depth--
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
	c.reported() // to nobody
	c.state = stateBuried
	l.conns.remove(c.slot)
}

// apply gives a new connection what the record says. Its queue is not sent and
// its handler not told before Done.
func (r *record) apply(c *Conn, o *Options, table []*Message) {
	c.bytesIn, c.bytesOut = r.bytesIn, r.bytesOut
	if r.dropped > 0 || r.unreported > 0 {
		*c.haveTrouble() = trouble{dropped: r.dropped, unreported: uint32(r.unreported), unreportedBytes: r.unreportedBytes}
	}
	for _, f := range savedFlags {
		if r.flags&f.bit != 0 {
			c.flags |= f.flag
		}
	}
	if r.flags&savedMark != 0 {
		c.mark()
	}
	if r.unreported > 0 {
		c.flags |= flagReport
	}
	c.setReason(reasonOf(string(r.reason)))
	r.applyBound(c, o)
	r.applyInput(c)
	r.applyQueue(c, table)
	c.loop.weigh(c)
	c.acked = uint32(r.acked)
	c.setUnsent(uint32(r.unsent))
	r.applyTimes(c)
	c.checkFull()
	if c.flags&flagBroken != 0 && c.flags&flagEOF == 0 {
		c.readOn() // to EAGAIN, which ends it
	}
}

// applyTimes sets the deadlines, and what an end that has begun waits for.
func (r *record) applyTimes(c *Conn) {
	lag := c.loop.lag()
	c.lastIn, c.lastOut = fromTime(r.lastIn, lag), fromTime(r.lastOut, lag)
	switch {
	case r.flags&savedFlushing != 0:
		c.state = stateFlushing
	case r.flags&savedLingering != 0:
		c.state = stateLingering
	}
	if c.state != stateOpen {
		c.until = fromTime(r.until, lag)
	}
}

// applyBound sets the options. The kernel still has the bound for unsent output
// that it was given before, which is that of a flood if there was one.
func (r *record) applyBound(c *Conn, o *Options) {
	if r.bound > 0 {
		c.flags |= flagBounded
		c.opts = &Options{Queue: int(r.bound)}
	}
	if o == nil {
		o = defaultOptions
	}
	c.bound(o.queue())
	c.opts = o
}

func (r *record) applyInput(c *Conn) {
	n := len(r.in)
	if n == 0 {
		return
	}
	l := c.loop
	if n > len(l.rbuf) { // it is shown in one piece, like all that was kept
		l.rbuf = make([]byte, n)
	}
	l.store(c, r.in)
	c.flags |= flagReplay // it may hold a whole message: a pause can have held it back
}

// applyQueue queues what was queued, in the same order and at the same charge.
func (r *record) applyQueue(c *Conn, table []*Message) {
	l := c.loop
	for _, e := range r.queue {
		if e.shared != 0 {
			l.enqueue(c, table[e.shared-1])
			continue
		}
		size := 0
		for _, p := range e.pieces {
			size += len(p)
		}
		m := l.pool.message(size)
		m.buf, m.count = append(m.buf, e.pieces[0]...), uint32(e.count)
		l.enqueue(c, m)
		for _, p := range e.pieces[1:] {
			l.link(c, m, l.lengthen(c, m, p))
		}
	}
	if c.out.head == 0 {
		return
	}
	c.out.rest = r.flags&savedRest != 0
	c.out.off, c.out.bytes = uint32(r.off), c.out.bytes-uint32(r.off)
}

// knownReasons are errors that keep their identity across a restart, so that
// errors.Is goes on working.
var knownReasons = []error{
	ErrAborted, ErrFlushTimeout, ErrIdle, ErrInputFull, ErrMemory, ErrOverflow, ErrStalled,
	os.NewSyscallError("recv", unix.ECONNRESET), os.NewSyscallError("send", unix.ECONNRESET), os.NewSyscallError("send", unix.EPIPE),
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
