// SPDX-License-Identifier: Apache-2.0

package service

import (
	"time"

	"penstock/evloop"
)

// How long a client of a handler may wait for the program: for its reply, when the
// service ends, and until its message is taken. The latter goes on in the next process
// (handler_carry.go).

// Kinds of a client's timers.
const (
	timerDrain   = iota // drain_timeout is over
	timerBlocked        // the time in which a message has to be taken is over
)

// takeTimeout is how long a client waits for the program, or for the source of a bridge,
// to take its message when there is no idle_timeout.
const takeTimeout = 5 * time.Minute

// takeWithin returns how long a client waits until its message is taken.
func takeWithin(c *evloop.Conn) time.Duration {
	if d := c.Options().IdleTimeout; d != 0 {
		return d
	}
	return takeTimeout
}

// missed returns another deadline for a wait whose timer the loop has called late. A
// client has the same time again: what it waits for may have come meanwhile.
func missed(l *evloop.Loop, t evloop.Timer) (again evloop.Time, late bool) {
	by := l.Now().Sub(t.Deadline)
	return l.Now().Add(by), by > time.Second
}

// awaits notes how many replies c waits for. As long as there are any it is not
// idle.
func (h *handler) awaits(c *evloop.Conn, replies int) {
	clientOf(c).pending = replies
	c.HoldIdle(replies > 0)
}

// block pauses a client until the program takes more, for a limited time. While the
// loop does not read from a client, it does not count its silence and does not see that
// it leaves. Without the limit, clients that have long gone would keep their places, in
// the end all places, as long as the program does not run.
func (h *handler) block(c *evloop.Conn) {
	c.Pause()
	cl := clientOf(c)
	cl.blocked = true
	if cl.until == 0 {
		d := takeWithin(c)
		if h.suspended { // it waits for a restart, too
			d += h.conf.DrainTimeout
		}
		cl.until = h.loop.Now().Add(d)
	}
	if !h.suspended { // the next process has it wait on
		cl.limit = h.schedule(c, timerBlocked, max(cl.until, h.earliest))
	}
}

func (h *handler) schedule(c *evloop.Conn, kind int, at evloop.Time) evloop.TimerID {
	return h.loop.Schedule(evloop.Timer{Deadline: at, Kind: kind, Conn: c.ID(), Handler: h})
}

// Expired ends a connection that has waited too long.
func (h *handler) Expired(l *evloop.Loop, t evloop.Timer) {
	c := l.Conn(t.Conn)
	if again, late := missed(l, t); late {
		id := h.schedule(c, t.Kind, again)
		if t.Kind == timerBlocked {
			clientOf(c).limit, clientOf(c).until = id, again
		}
		return
	}
	switch t.Kind {
	case timerDrain:
		c.CloseAfterFlush(0, ErrUnanswered)
	case timerBlocked:
		c.CloseAfterFlush(goodbyeTimeout, ErrNotTaken)
	}
}
