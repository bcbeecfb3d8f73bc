// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"time"

	"penstock/daemon/internal/service"
	"penstock/evloop"
)

// An endpoint retires when its service was removed or replaced, and at the end
// of the process. A client that has been served is finished at once:
//
//	retire ──┬─ has been served ──────────────────────► finish ─► CloseAfterFlush
//	         └─ came just now, has said nothing yet ─┬─ first message: answered ─┘
//	                                                 └─ askGrace ────────────────┘
//
// Without the second branch clients would notice a restart under load. A client in
// the backlog waits for the next process and loses nothing. But a client that was
// accepted just before the stop, and whose question is still on the way, would see
// its connection end without an answer. The alternative was to read once more before
// closing, but on a slow board the question takes longer than that.

// askGrace is how long after its acceptance a silent client may still ask. A round
// trip over a bad radio link takes that long, and it is short beside the time that
// systemd allows for a stop.
const askGrace = time.Second

// retire lets no one in any more and asks every client to finish. emptied is
// called when the last has. The listeners are somebody else's by now, or closed.
func (ep *endpoint) retire() {
	ep.retired, ep.listeners = true, nil
	ep.unjoin()
	ep.untapAll()
	ep.d.retired = append(ep.d.retired, ep)
	if ep.conns == 0 {
		ep.d.emptied(ep)
		return
	}
	for c := range ep.connections {
		s := service.SessionOf(c)
		since := s.Since
		if !mayStillAsk(s.BytesIn(c), len(c.Input()), ep.d.loop.Now().Sub(since)) {
			ep.finish(c, c.Input())
			continue
		}
		if ep.asking == nil {
			ep.asking = make(map[evloop.ConnID]evloop.TimerID)
		}
		ep.asking[c.ID()] = ep.d.loop.Schedule(evloop.Timer{Deadline: since.Add(askGrace), Conn: c.ID(), Handler: ep})
	}
}

// mayStillAsk reports whether the question of a client of that age is still on the
// way: it has sent nothing, or the beginning of a message.
func mayStillAsk(bytesIn uint64, kept int, age time.Duration) bool {
	return (bytesIn == 0 || kept > 0) && age < askGrace
}

// finish lets a client have what it is due, and no more. What it has asked and the
// service has not taken yet, because others had their turn or the client did not read,
// is in left. The service counts it as lost. To go on serving it was the alternative,
// but a client that never stops asking would then delay each stop by drain_timeout, and
// a room has nobody left to talk to.
func (ep *endpoint) finish(c *evloop.Conn, left []byte) {
	if _, waits := unannounced(c); waits {
		c.CloseAfterFlush(0, nil) // the service does not know it yet
		return
	}
	if d, ok := ep.svc.(service.Drainer); ok {
		d.Drain(c, left, ep.conf.DrainTimeout)
		return
	}
	c.CloseAfterFlush(ep.conf.DrainTimeout, nil) // nil: Closed gets an error if the flush fails
}

// asked hears, in a call of Data, that the service has taken all that has come of c
// after retire. A client in the middle of a message has until askGrace to end it.
func (ep *endpoint) asked(c *evloop.Conn) {
	if id, ok := ep.asking[c.ID()]; ok {
		ep.d.loop.Cancel(id)
		delete(ep.asking, c.ID())
		ep.finish(c, nil)
	}
}

// Expired finishes a client that has not asked in time.
func (ep *endpoint) Expired(l *evloop.Loop, t evloop.Timer) {
	delete(ep.asking, t.Conn)
	c := l.Conn(t.Conn)
	ep.finish(c, c.Input())
}
