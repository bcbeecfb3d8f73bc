// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/report"
	"penstock/evloop"
)

// What the clients of a bridge send goes to the source in whole messages, in the order in
// which they come.
//
//	Data ─► message ─► Offer ─┬─ taken
//	  ▲                       ├─ full: the client is paused, behind the others
//	  └── Resume ◄── Proceed ─┘
//	                          └─ away: the message is dropped, counted and logged
//
// With write = "transaction" only the client whose turn it is gets to Offer; the others
// are paused, as if the source were full (bridge_ask.go).
//
// Nothing is queued for a source that is there beyond what it has itself, so the kernels
// of the clients keep what they have to say. For a source that is away nothing waits: a
// command that reaches a device minutes later does more harm than one that is known to be
// lost. Where it does not, absent = "queue" keeps messages (bridge_store.go).

// Data takes what a client has sent.
func (b *bridge) Data(c *evloop.Conn, p []byte) (n int) {
	if b.port != nil {
		n = b.port.stream(c, p)
	} else {
		n = b.messages(c, p)
	}
	if b.turn.next == c { // other keys make no message of what it has said
		b.leaveTurn(c)
	}
	return n
}

// messages passes on the messages in p, as far as the source takes them.
func (b *bridge) messages(c *evloop.Conn, p []byte) (n int) {
	if b.keys.Write == config.WriteNone {
		return len(p)
	}
	for served := 0; !c.Closing() && n < len(p) && another(c, served); served++ {
		took, found := b.next(p[n:])
		switch found {
		case cutNone:
			return n
		case cutLong:
			tooLong(c)
			return len(p)
		}
		if !b.offer(c, p[n:n+took]) {
			return n
		}
		n += took
	}
	if c.Closing() {
		return len(p)
	}
	return n
}

// next returns the length of the first message of p, with its delimiter.
func (b *bridge) next(p []byte) (n int, found cut) {
	if b.keys.Delimiter == "" {
		return min(len(p), b.conf.MaxLine), cutLine
	}
	_, n, found = b.frame.next(p)
	return n, found
}

// offer gives the source a message of c. If it has to wait, c waits, and offer returns
// false.
func (b *bridge) offer(c *evloop.Conn, message []byte) bool {
	if !b.holds(c) {
		b.env.Lose(report.LostHeld, 1)
		b.log.HeldDropped(SessionOf(c).ID, len(message))
		return true
	}
	verdict := full
	if !b.suspended && b.mayAsk(c) {
		verdict = b.give(message)
	}
	if verdict == full {
		b.wait(c)
		return false
	}
	cl := callerOf(c)
	cl.fed, cl.until = true, 0
	if verdict == away && !b.keep(c, message) {
		b.env.Lose(report.LostAbsent, 1)
		b.log.SourceDropped(SessionOf(c).ID, len(message), report.LostAbsent)
	}
	if b.takesTurns() {
		b.turn.next = nil
		if verdict == taken {
			b.given(SessionOf(c).ID, c, len(message))
		} else {
			b.grant()
		}
	}
	return true
}

// holds reports whether c may write. With write = "first" it is the one that has written
// first: one that only listens keeps nobody out.
func (b *bridge) holds(c *evloop.Conn) bool {
	if b.keys.Write != config.WriteFirst {
		return true
	}
	if b.holder == nil || b.holder.Closing() { // one that is closing writes no more
		b.holder = c
	}
	return b.holder == c
}

// wait stops reading from c until the source takes more, for a limited time: the loop does
// not see that a client leaves from which it does not read. A client of which nothing was
// taken since it last went on waits before all those that had their share. Otherwise the
// one with the longest backlog would fill each room that there is. In transactions there
// is one message at a time, so to go to the end of the queue after each of them is enough.
func (b *bridge) wait(c *evloop.Conn) {
	cl := callerOf(c)
	c.Pause()
	cl.waits = true
	switch {
	case b.turn.next == c: // the source was full: it keeps its place
		b.turn.next = nil
		b.waiting.prepend(cl)
	case cl.fed || b.takesTurns():
		b.waiting.append(cl)
	default:
		b.waiting.starve(cl)
	}
	if cl.until == 0 {
		d := takeWithin(c)
		if b.suspended { // it waits for a restart, too
			d += b.conf.DrainTimeout
		}
		cl.until = b.loop.Now().Add(d)
	}
	if !b.suspended { // the next process has it wait on
		deadline := max(cl.until, b.earliest)
		cl.limit = b.loop.Schedule(evloop.Timer{Deadline: deadline, Kind: timerBlocked, Conn: c.ID(), Handler: b})
	}
}

// Proceed lets the clients go on that wait for the source. Those for which there is no
// room will wait again, before those that had it, and no longer in all than wait says. In
// transactions one goes on.
func (b *bridge) Proceed() {
	if b.takesTurns() {
		b.grant()
		return
	}
	if b.empty() == full {
		return // those that wait are behind what is stored
	}
	list := b.waiting
	b.waiting = line{}
	for cl := list.take(); cl != nil; cl = list.take() {
		b.goOn(cl)
		cl.conn.Resume()
		b.lastWord(cl.conn, cl)
	}
}

// goOn has a client wait no longer.
func (b *bridge) goOn(cl *caller) {
	cl.waits, cl.fed = false, false
	b.loop.Cancel(cl.limit)
}

// forget takes c out of those that wait.
func (b *bridge) forget(c *evloop.Conn) {
	cl := callerOf(c)
	cl.rest = nil
	b.leaveTurn(c)
	if b.holder == c {
		b.holder = nil
	}
	if !cl.waits {
		return
	}
	cl.waits = false
	b.loop.Cancel(cl.limit)
	b.waiting.remove(cl)
}

// EOF ends the connection of a client that has said all it had to say, unless it only
// listens.
func (b *bridge) EOF(c *evloop.Conn) {
	cl := callerOf(c)
	cl.eof = !listens(c)
	if b.keys.Write != config.WriteNone {
		whole := c.Input() // with a CR before an end that is not there
		if b.port != nil {
			whole = plainOf(whole)
		}
		switch _, found := b.rest.lineOf(c, whole, b.frame); found {
		case cutLine:
			cl.rest = bytes.Clone(whole)
		case cutLong:
			tooLong(c)
			return
		}
	}
	b.lastWord(c, cl)
}

// lastWord passes on a last message, with the delimiter that it lacks, when there is room
// for it, and ends the connection of a client that has no more to say, and to hear.
func (b *bridge) lastWord(c *evloop.Conn, cl *caller) {
	if cl.rest != nil && !c.Closing() {
		if end := b.keys.Delimiter; !bytes.HasSuffix(cl.rest, []byte(end)) { // or the next message would go on with it
			cl.rest = append(cl.rest, end...)
		}
		if !b.offer(c, cl.rest) {
			return
		}
		cl.rest = nil
	}
	if cl.eof && b.turn.conn != c && !b.owes(c) {
		b.fan.catchUp(c)
		finish(c)
	}
}

// Timers of a bridge, beside timerBlocked.
const (
	timerGap  = timerBlocked + 1 + iota
	timerTurn // of the transaction under way
	timerRest // of a line that does not go on
)

// Expired ends a message of the source, or the connection of a client that has waited too
// long.
func (b *bridge) Expired(l *evloop.Loop, t evloop.Timer) {
	switch t.Kind {
	case timerGap:
		b.gapOver()
		return
	case timerTurn:
		b.lookAtTurn()
		return
	case timerRest:
		b.turn.rests = evloop.TimerID{}
		b.grant()
		return
	}
	c := l.Conn(t.Conn)
	if again, late := missed(l, t); late {
		cl := callerOf(c)
		cl.until = again
		cl.limit = l.Schedule(evloop.Timer{Deadline: cl.until, Kind: t.Kind, Conn: t.Conn, Handler: b})
		return
	}
	c.CloseAfterFlush(goodbyeTimeout, ErrNotTaken)
}

// fromSource takes what the source has said.
func (b *bridge) fromSource(p []byte) {
	if b.tap != nil {
		b.tap(true, p)
	}
	b.heard = b.loop.Now()
	if b.turn.state != free {
		b.turn.heard = b.heard
	}
	b.turn.busy = true
	b.cut.feed(p)
	b.turn.busy = false
	b.fed()
	b.heardSource()
}
