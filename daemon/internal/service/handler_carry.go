// SPDX-License-Identifier: Apache-2.0

package service

import (
	"time"

	"penstock/daemon/internal/record"
	"penstock/daemon/internal/report"
	"penstock/evloop"
)

// What the clients of a handler take along to the next process: Carrier, Suspender.

// Suspend asks the program to end, with the time to answer what it has got.
func (h *handler) Suspend(timeout time.Duration, ended func()) {
	h.suspended = true
	for _, c := range h.clients { // nothing is taken from here on, which is not their doing
		if cl := clientOf(c); cl.blocked {
			h.loop.Cancel(cl.limit)
			cl.until = cl.until.Add(timeout)
		}
	}
	h.program.StopWithin(timeout, ended)
}

// Late is false: a program may take its time.
func (*handler) Late() bool { return false }

// startTime is what a program has to start, for a client whose time was over meanwhile.
const startTime = 5 * time.Second

// Save has nothing to say: the program has ended, and the next process starts another.
// A client that still waits for a reply waits in vain.
func (h *handler) Save() []byte {
	h.fan.settle()
	for _, c := range h.clients {
		if cl := clientOf(c); cl.pending > 0 {
			h.lose(report.LostUnanswered, cl.pending)
			h.fail(c, cl)
		}
	}
	return nil
}

// Load takes nothing.
func (*handler) Load(state []byte) error { return record.NewReader(state).Err() }

// SaveConn returns what the client still waits for, and until when.
func (*handler) SaveConn(c *evloop.Conn) []byte {
	cl := clientOf(c)
	var w record.Writer
	w.Number(cl.replyEnd)
	w.Number(uint64(cl.until))
	w.Bool(cl.eof)
	w.Bool(cl.long)
	saveRest(&w, cl.rest)
	return w
}

// LoadConn has the client wait for the next program.
func (h *handler) LoadConn(c *evloop.Conn, state []byte) error {
	r := record.NewReader(state)
	cl := &client{replyEnd: r.Number(), until: evloop.Time(r.Number()), eof: r.Bool(), long: r.Bool()}
	var err error
	if cl.rest, err = loadRest(r); err != nil {
		return err
	}
	if cl.rest != nil && cl.until == 0 {
		return record.ErrDamaged // it would wait for ever
	}
	h.earliest = h.loop.Now().Add(startTime)
	SessionOf(c).Data = cl
	h.clients[SessionOf(c).ID] = c
	h.fan.add(c)
	c.Resume() // Data blocks it again, if it has something to say
	if cl.rest != nil && !c.Closing() {
		h.block(c)
	}
	return nil
}
