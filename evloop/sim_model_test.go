// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// A simConn is what one connection should be, kept beside the loop's Conn and
// never derived from it. It is the connection's State.
//
//	peer ─► [sent … read] kernel ─► [shown … consumed] Data; read and shown differ with the ring
//	peer ◄─ [taken] kernel ◄─ loop's queue ◄─ [accepted] Write, Send
//
// An echo (raw) connection sends back its input as a stream; on the others
// every message is tagged, so that a policy that drops can be told from a bug.
type simConn struct {
	w   *simWorld
	s   *simSocket
	c   *Conn
	raw bool
	ln  bool // came from a listener

	opened, closed bool
	paused, eof    bool
	drops, merges  bool // what any of its options so far did
	disconnects    bool
	mayReplay      bool // Data may come without a new byte
	mustReplay     bool // it must, if something was kept
	owed           bool // it waits for a reply
	overfull       bool // more was left unconsumed than the bound
	shut           bool // CloseWrite was called
	held           bool // is brought back, and Done is still to come
	consumed       int
	shown          int    // bytes that Data has seen
	fresh          int    // that were not kept, in this turn
	readBefore     int    // s.read when the turn began
	tuned          uint64 // the turn of its last options: they may be overdue at once
	lastData       Time
	lastWire       Time

	ended, aborted bool // by the handler: no Data, no EOF any more
	reason         error
	unreadAtEnd    int
	waited         bool // for its burial, while the ring went on receiving

	expect           []simMessage // accepted, and not yet begun on the wire
	parser           simParser
	farewell         bool
	accepted         int // bytes
	carried          int // bytes
	acceptedN        int
	carriedN         int
	droppedN, lost   int    // as Dropped reported: messages and bytes
	toldDrops        int    // calls of Dropped in the turn
	toldIn           uint64 // of this number
	carriedQueue     int64  // what its queue took of the memory bound before DetachAll
	drainDue         bool   // the queue was full, and Drained has not come
	refusedN, unsent int    // messages and bytes that Write refused
	doubtful         int    // bytes for which Write ended the connection: it may have queued or dropped them
}

// wire checks bytes that leave for the peer.
func (m *simConn) wire(p []byte) {
	m.lastWire = m.w.k.clock
	switch {
	case m.closed:
		m.w.fail("output of", m.s.id, "after Closed")
	case m.held:
		m.w.fail("output of", m.s.id, "before Done")
	case m.raw:
		if m.carried+len(p) > m.accepted || !simMatch(p, m.s.id, m.carried) {
			m.w.fail("echo of", m.s.id, "differs at byte", m.carried, "to", m.carried+len(p), "of", m.accepted)
		}
		m.carried += len(p)
		return
	}
	if !m.s.kind.isStream() && m.parser.n != 0 {
		m.w.fail("packet to", m.s.id, "was cut")
	}
	for len(p) > 0 {
		rest, begun, whole, ok := m.parser.next(p)
		if !ok {
			m.w.fail("output of", m.s.id, "is cut in or before message", m.parser.m.id)
		}
		if begun {
			m.begun(m.parser.m)
		}
		if whole && m.parser.m.id != simFarewell {
			m.carriedN++
			m.carried += m.parser.m.len
		}
		p = rest
	}
}

// begun checks that a message on the wire is the next one due.
func (m *simConn) begun(msg simMessage) {
	if m.farewell {
		m.w.fail("message", msg.id, "behind the farewell of", m.s.id)
	}
	if msg.id == simFarewell {
		m.farewell, m.expect = true, nil
		if !m.c.Closing() || m.reason != nil && !errors.Is(m.reason, ErrOverflow) {
			m.w.fail("farewell to", m.s.id, "that may stay")
		}
		return
	}
	i := slices.Index(m.expect, msg)
	switch {
	case i < 0:
		m.w.fail("message", msg.id, "to", m.s.id, "is doubled, late or not for it")
	case i > 0 && !m.drops:
		m.w.fail(i, "messages before", msg.id, "to", m.s.id, "are lost")
	}
	m.expect = slices.Delete(m.expect, 0, i+1)
}

// output hands n bytes of something to write and books the outcome.
func (m *simConn) output(n int, write func() bool) bool {
	wasOpen := !m.c.Closing() && !m.shut
	before := m.w.debts(n)
	defer func() { m.w.checkPayers(before, m) }()
	m.accepted += n
	m.acceptedN++
	if write() {
		if !wasOpen {
			m.w.fail("write to", m.s.id, "accepted after its end")
		}
		m.w.turn.deliveries++
		return true
	}
	m.accepted -= n
	m.acceptedN--
	switch {
	case m.c.Closing() || m.c.flags&flagBroken != 0:
		m.doubtful += n
	case m.shut:
	case m.raw:
		m.w.fail("echo of", m.s.id, "refused")
	default:
		m.unsent += n
		m.refusedN++
	}
	return false
}

// send writes one tagged message.
func (m *simConn) send(msg simMessage, write func() bool) {
	if m.raw {
		return
	}
	m.expect = append(m.expect, msg)
	if !m.output(msg.len, write) && len(m.expect) > 0 && m.expect[len(m.expect)-1] == msg {
		m.expect = m.expect[:len(m.expect)-1]
	}
}

// options notes what a set of options allows from now on.
func (m *simConn) options(o *Options) {
	if m.c.state >= stateDead {
		return // it waits for its burial, and what it has ended for stands
	}
	m.drops = m.drops || o.Overflow == DropOldest || o.Overflow == DropNewest
	m.merges = m.merges || o.Overflow == Pause || o.Overflow == Disconnect
	m.disconnects = m.disconnects || o.Overflow == Disconnect
	m.mayReplay = true // where a full queue held it back, and does no longer
	m.tuned = m.w.l.stats.Turns
	m.w.k.trace("options of %d: %+v", m.s.id, *o)
	m.c.SetOptions(o)
}

// data checks what is shown to Data.
func (m *simConn) data(p []byte) {
	switch {
	case !m.opened || m.closed || m.ended || m.c.Closing():
		m.w.fail("Data of", m.s.id, "before Open or after its end")
	case m.eof && len(p) > len(m.c.Input()):
		m.w.fail("Data of", m.s.id, "with new bytes after EOF")
	case m.paused || m.c.opts.Overflow == Pause && m.c.Full():
		m.w.fail("Data of", m.s.id, "while paused")
	case len(p) != m.s.read-m.consumed && !m.ahead(), m.consumed+len(p) < m.shown, m.consumed+len(p) > m.s.read, !simMatch(p, m.s.id, m.consumed):
		m.w.fail("Data of", m.s.id, "got", len(p), "bytes of", m.s.read-m.consumed, "or others")
	case len(p) == len(m.c.Input()) && !m.mayReplay:
		m.w.fail("Data of", m.s.id, "shows the same bytes again")
	}
	if len(p) > len(m.c.Input()) {
		m.lastData = m.w.k.clock
	}
	m.shown = m.consumed + len(p)
	m.fresh += len(p) - len(m.c.Input())
	m.mayReplay, m.mustReplay = false, false
}

// ahead reports whether the kernel may have read more than Data has seen: a
// receive of the ring does not wait until the handler will have it.
func (m *simConn) ahead() bool { return m.w.ringed(m.c) }

// checkEnd is called with what Closed was given.
func (m *simConn) checkEnd(err error) {
	l, o := m.w.l, m.c.opts
	switch {
	case m.closed || !m.opened:
		m.w.fail("Closed of", m.s.id, "twice or before Open")
	case m.c.FD() != -1 || m.s.file.closed == errors.Is(err, ErrDetached):
		m.w.fail("Closed of", m.s.id, "before its descriptor")
	case m.aborted && !errors.Is(err, m.reason):
		m.w.fail("aborted with", m.reason, "but closed with", err)
	case m.ended && m.reason != nil && fmt.Sprint(err) != m.reason.Error() && !errors.Is(err, ErrMemory) && !errors.Is(err, ErrLoopClosed) && !errors.Is(err, ErrDetached) && !m.s.broken:
		m.w.fail("ended with", m.reason, "but closed with", err)
	case errors.Is(err, ErrIdle):
		m.checkIdle(o)
	case errors.Is(err, ErrStalled):
		m.checkStalled(o)
	case errors.Is(err, ErrFlushTimeout) && (!m.ended || l.clock < m.c.until || m.s.writable() && m.s.denied != m.w.k.clock && !m.waited):
		m.w.fail("flush timed out too early:", m.s.id)
	case errors.Is(err, ErrInputFull) && !m.overfull:
		m.w.fail("input of", m.s.id, "was not too much")
	case errors.Is(err, ErrOverflow) && !m.disconnects:
		m.w.fail("overflow of", m.s.id, "under", o.Overflow)
	case errors.Is(err, ErrMemory) && !m.w.bounded:
		m.w.fail("no memory bound, but", m.s.id, "paid for it")
	}
	m.closed = true
	m.checkBytes(err)
	m.checkLost(err)
}

// checkLost: output that was accepted has gone to the kernel or is counted.
func (m *simConn) checkLost(err error) {
	if errors.Is(err, ErrDetached) {
		if m.c.Unsent() != 0 {
			m.w.fail("output of", m.s.id, "is carried along and was thrown away")
		}
		return
	}
	most := m.doubtful
	if !m.raw {
		most += simFarewellMost // it may be thrown away as well, and the handler did not write it
	}
	if over := m.s.taken + m.lost - m.unsent + m.c.Unsent() - m.accepted; over < 0 || over > most {
		m.w.fail("of", m.accepted, "bytes to", m.s.id, m.s.taken, "were taken,", m.lost-m.unsent, "dropped and", m.c.Unsent(), "thrown away, by", err)
	}
}

// checkIdle and checkStalled: no connection ends whose bytes, or whose room, the
// kernel has already, or that has moved in time. A mark may be as old as a turn,
// which does not count beyond lateAfter; and what a peer does between the
// loop's question and the end is too late.
func (m *simConn) checkIdle(o *Options) {
	now := m.w.k.clock
	most := o.IdleTimeout - lateAfter.Sub(0)
	switch {
	case o.IdleTimeout == 0 || now.Sub(m.lastData) < most || now.Sub(m.lastWire) < most:
		m.w.fail("idle too early:", m.s.id)
	case m.owed:
		m.w.fail(m.s.id, "is idle and waits for a reply")
	case m.s.broken:
	case (m.shown < m.s.sent || (m.s.finIn || m.s.gone) && !m.eof) && m.s.denied != now && !m.waited:
		m.w.fail(m.s.id, "is idle, and the kernel has input of it")
	case !m.farewell && m.accepted-m.carried > m.lost-m.unsent:
		m.w.fail(m.s.id, "is idle, and", m.accepted-m.carried-(m.lost-m.unsent), "bytes of output wait for it")
	case m.s.unread > 0 && m.s.moved != now && !m.waited && now.Sub(m.s.moved) < most:
		m.w.fail(m.s.id, "is idle, and its output was on its way")
	}
}

func (m *simConn) checkStalled(o *Options) {
	now := m.w.k.clock
	switch {
	case o.StallTimeout == 0 || now.Sub(m.lastWire) < o.StallTimeout-lateAfter.Sub(0):
		m.w.fail("stalled too early:", m.s.id)
	case m.s.moved != now && !m.waited && now.Sub(m.s.moved) < o.StallTimeout-lateAfter.Sub(0):
		m.w.fail(m.s.id, "is stalled, and its output was on its way")
	case (m.s.writable() || m.s.gone) && m.s.denied != now && !m.waited:
		m.w.fail(m.s.id, "is stalled, and the kernel has room")
	}
}

// checkBytes checks that an end other than by the handler or a bound comes
// behind all input, and an orderly one behind all output.
func (m *simConn) checkBytes(err error) {
	_, system := errors.AsType[unix.Errno](err)
	refused := errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.ENOMEM) // by epoll, at once
	if system && !m.ended && !refused && !m.waited && m.s.kind.isStream() && m.shown < m.s.read {
		m.w.fail(m.s.read-m.shown, "bytes of", m.s.id, "received and not shown before", err)
	}
	if system && !m.ended && !m.s.broken && !m.waited && m.shown < m.s.sent {
		m.w.fail(m.s.sent-m.shown, "bytes of", m.s.id, "lost before", err)
	}
	if err == nil || system {
		m.checkOrder()
	}
	if err != nil {
		return
	}
	switch {
	case m.unreadAtEnd > 0 && !m.s.gone && !m.s.broken && m.c.kind.halfCloses() && m.w.l.clock < m.c.until:
		m.w.fail("closed with", m.unreadAtEnd, "unread bytes of", m.s.id, "too early: RST destroys the reply")
	case !m.ended && (m.shown < m.s.sent || !m.eof):
		m.w.fail("orderly end of", m.s.id, "without EOF or", m.s.sent-m.shown, "bytes")
	case m.raw && m.carried != m.accepted:
		m.w.fail("orderly end of", m.s.id, "without", m.accepted-m.carried, "bytes of output")
	case !m.raw && !m.farewell && m.accepted-m.carried != m.lost-m.unsent:
		m.w.fail("orderly end of", m.s.id, "misses", m.accepted-m.carried, "bytes of output, of which", m.lost-m.unsent, "were reported")
	case !m.raw && !m.farewell && !m.merges && m.acceptedN-m.carriedN != m.droppedN-m.refusedN:
		m.w.fail("orderly end of", m.s.id, "misses", m.acceptedN-m.carriedN, "messages, of which", m.droppedN-m.refusedN, "were reported")
	}
}

// checkOrder checks that the end of a terminal or FIFO was told as such, and
// not as an error.
func (m *simConn) checkOrder() {
	if !m.s.kind.isSocket() && !m.ended && !m.eof && !m.s.broken {
		m.w.fail("hang-up of", m.s.id, "without EOF")
	}
}

// closing is told by the kernel just before it closes the descriptor.
func (m *simConn) closing(reset bool) {
	if m.s.read < m.s.sent && !reset {
		m.unreadAtEnd = m.s.sent - m.s.read
	}
	if got := m.c.BytesIn(); m.c.state == stateBuried && got > uint64(m.s.read) {
		m.w.fail("BytesIn of", m.s.id, "is", got, "not", m.s.read)
	}
	if got := m.c.BytesOut(); got != uint64(m.s.taken) {
		m.w.fail("BytesOut of", m.s.id, "is", got, "not", m.s.taken)
	}
}
