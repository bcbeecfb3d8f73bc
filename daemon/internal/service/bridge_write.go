// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"slices"

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
// Nothing is queued for the source beyond what it has itself, so the kernels of the
// clients keep what they have to say. For a source that is away nothing waits: a command
// that reaches a device minutes later does more harm than one that is known to be lost.

// Data passes on the messages in p, as far as the source takes them.
func (b *bridge) Data(c *evloop.Conn, p []byte) (n int) {
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
	verdict := full
	if !b.suspended {
		verdict = b.source.Offer(message)
	}
	if verdict == full {
		b.wait(c)
		return false
	}
	cl := callerOf(c)
	cl.fed, cl.until = true, 0
	if verdict == away {
		b.env.Lose(report.LostAbsent, 1)
		b.log.SourceDropped(SessionOf(c).ID, len(message), report.LostAbsent)
	}
	return true
}

// wait stops reading from c until the source takes more, for a limited time: the loop does
// not see that a client leaves from which it does not read. A client of which nothing was
// taken since it last went on waits before all those that had their share. Otherwise the
// one with the longest backlog would fill each room that there is.
func (b *bridge) wait(c *evloop.Conn) {
	cl := callerOf(c)
	c.Pause()
	cl.waits = true
	if cl.fed {
		b.waiting = append(b.waiting, c)
	} else {
		b.waiting = slices.Insert(b.waiting, b.hungry, c)
		b.hungry++
	}
	if cl.until == 0 {
		cl.until = b.loop.Now().Add(takeWithin(c))
	}
	cl.limit = b.loop.Schedule(evloop.Timer{Deadline: cl.until, Kind: timerBlocked, Conn: c.ID(), Handler: b})
}

// Proceed lets the clients go on that wait for the source. Those for which there is no
// room will wait again, before those that had it, and no longer in all than wait says.
func (b *bridge) Proceed() {
	list := b.waiting
	b.waiting, b.hungry = nil, 0
	for _, c := range list {
		cl := callerOf(c)
		cl.waits, cl.fed = false, false
		b.loop.Cancel(cl.limit)
		c.Resume()
		b.lastWord(c, cl)
	}
}

// forget takes c out of those that wait.
func (b *bridge) forget(c *evloop.Conn) {
	cl := callerOf(c)
	cl.rest = nil
	if !cl.waits {
		return
	}
	cl.waits = false
	b.loop.Cancel(cl.limit)
	i := slices.Index(b.waiting, c)
	b.waiting = slices.Delete(b.waiting, i, i+1)
	if i < b.hungry {
		b.hungry--
	}
}

// EOF ends the connection of a client that has said all it had to say, unless it only
// listens.
func (b *bridge) EOF(c *evloop.Conn) {
	cl := callerOf(c)
	cl.eof = !listens(c)
	if b.keys.Write != config.WriteNone {
		whole := c.Input() // with a CR before an end that is not there
		switch _, found := b.rest.line(c, b.frame); found {
		case cutLine:
			cl.rest = bytes.Clone(whole)
		case cutLong:
			tooLong(c)
			return
		}
	}
	b.lastWord(c, cl)
}

// lastWord passes on a last message that lacks its delimiter, when there is room for it,
// and ends the connection of a client that has no more to say.
func (b *bridge) lastWord(c *evloop.Conn, cl *caller) {
	if cl.rest != nil && !c.Closing() {
		if !b.offer(c, cl.rest) {
			return
		}
		cl.rest = nil
	}
	if cl.eof {
		b.fan.catchUp(c)
		finish(c)
	}
}

// Timers of a bridge, beside timerBlocked.
const timerGap = timerBlocked + 1

// Expired ends a message of the source, or the connection of a client that has waited too
// long.
func (b *bridge) Expired(l *evloop.Loop, t evloop.Timer) {
	if t.Kind == timerGap {
		b.gapOver()
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
	b.cut.feed(p)
	b.fed()
}
