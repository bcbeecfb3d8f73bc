// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"time"

	"penstock/daemon/internal/service"
	"penstock/evloop"
)

// An endpoint leaves when its service was removed or replaced, and at the end
// of the process. A client that has been served is finished at once:
//
//	leave ──┬─ has been served ──────────────────────► finish ─► CloseAfterFlush
//	        └─ came just now, has said nothing yet ─┬─ first message: answered ─┘
//	                                                └─ askGrace ────────────────┘
//
// The second branch is what makes a restart under load go unnoticed. A client
// in the backlog waits for the next process and loses nothing, but one that
// was accepted a moment before the stop, its question still on the way, would
// see its connection end without an answer. Reading once more before closing
// was the alternative; on a slow board the question needs longer than that.

// askGrace is how long after its acceptance a silent client may still ask: a
// round trip over a bad radio link, and little beside the time that systemd
// allows a stop.
const askGrace = time.Second

// leave lets no one in any more and asks every client to finish. left is
// called when the last has.
func (ep *endpoint) leave() {
	ep.leaving = true
	if ep.conns == 0 {
		ep.d.left(ep)
		return
	}
	for c := range ep.connections {
		until := service.SessionOf(c).Since.Add(askGrace)
		if unasked := c.BytesIn() == 0 || len(c.Input()) > 0; !unasked || until <= ep.d.loop.Now() {
			ep.finish(c)
			continue
		}
		if ep.asking == nil {
			ep.asking = make(map[evloop.ConnID]evloop.TimerID)
		}
		ep.asking[c.ID()] = ep.d.loop.Schedule(evloop.Timer{Deadline: until, Conn: c.ID(), Handler: ep})
	}
}

// finish lets a client have what it is due, and no more.
func (ep *endpoint) finish(c *evloop.Conn) {
	if d, ok := ep.svc.(service.Drainer); ok {
		d.Drain(c, ep.conf.DrainTimeout)
		return
	}
	c.CloseAfterFlush(ep.conf.DrainTimeout, nil) // nil: tell us if it could not
}

// asked hears that the service has taken all that has come of c after leave. A
// client in the middle of a message has until askGrace to end it.
func (ep *endpoint) asked(c *evloop.Conn) {
	if id, ok := ep.asking[c.ID()]; ok {
		ep.d.loop.Cancel(id)
		delete(ep.asking, c.ID())
		ep.finish(c)
	}
}

// Expired finishes a client that has not asked in time.
func (ep *endpoint) Expired(l *evloop.Loop, t evloop.Timer) {
	delete(ep.asking, t.Conn)
	ep.finish(l.Conn(t.Conn))
}
