// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"fmt"
	"time"

	"penstock/daemon/internal/proxyproto"
	"penstock/daemon/internal/record"
	"penstock/daemon/internal/report"
	"penstock/daemon/internal/service"
	"penstock/daemon/internal/view"
	"penstock/evloop"
)

// A proxy that accept_proxy lists tells who its client is, in front of the client's first
// byte. Until then the service does not know of the connection, and no rule about clients
// holds for it:
//
//	Accept ─► admitProxy ─► Open ─► announcing ─► header ─► admitAnnounced ─► letIn ─► service
//	                                    │            │ malformed     │ no place: again, for
//	                                    │ 3 s        │               │ a few turns
//	                                    └────────────┴───────────────┴──► refused
//
// Whether a header comes is known from the other end's address alone. To look at the first
// bytes instead would let every client say that it is another.
//
// The loop keeps the part of a header that has come, also over a restart. To read it before
// the loop has the connection (recv(2) with MSG_PEEK) was the alternative. It needs a second
// way to wait for a descriptor, and to carry it.
type announcing struct {
	ep       *endpoint
	listener string
	timer    evloop.TimerID
	looks    int  // how often the client found no place
	late     bool // the time is over, and what lies in the kernel is yet to be served
}

// announceTime is for the whole header. A proxy sends it with the client's first bytes or
// before, so it is one way over the network, and a retransmission. A test makes it shorter.
var announceTime = 3 * time.Second

// announceLooks is for how many turns a client is asked about that finds no place: those
// who hold it may be gone, see evloop.Listener.PutOff.
const announceLooks = 4

// announceOptions bound what comes before a client is known.
var announceOptions = &evloop.Options{MaxInput: proxyproto.Longest}

// unannounced reports whether it is yet to be said who the client of c is.
func unannounced(c *evloop.Conn) (*announcing, bool) {
	a, waits := service.SessionOf(c).Data.(*announcing)
	return a, waits
}

// begin waits for the header.
func (a *announcing) begin(c *evloop.Conn) {
	c.SetOptions(announceOptions)
	a.wait(c, service.SessionOf(c).Since.Add(announceTime))
}

func (a *announcing) wait(c *evloop.Conn, until evloop.Time) {
	a.timer = c.Loop().Schedule(evloop.Timer{Deadline: until, Conn: c.ID(), Handler: a})
}

// Expired refuses a client of which nothing was said in time. If the loop itself was late,
// the header may have come meanwhile: the next turn serves it first.
func (a *announcing) Expired(l *evloop.Loop, t evloop.Timer) {
	c := l.Conn(t.Conn)
	if !a.late {
		a.late = true
		a.wait(c, l.Now())
		return
	}
	a.refuse(c, service.SessionOf(c).Peer(), report.RefusedHeader, fmt.Errorf("no PROXY header in %v", announceTime))
}

// hear takes the header, when all of it is there, and lets the client in.
func (a *announcing) hear(c *evloop.Conn, p []byte) int {
	s, ep := service.SessionOf(c), a.ep
	h, err := proxyproto.Parse(p)
	if err != nil {
		a.refuse(c, s.Peer(), report.RefusedHeader, err)
	}
	if err != nil || h.Len == 0 {
		return 0
	}
	peer := s.Peer()
	if h.From.IsValid() {
		peer = view.Peer{Addr: h.From}
	}
	reason := ep.admitAnnounced(c.FD(), peer)
	if reason == report.RefusedSource && a.looks < announceLooks {
		a.looks++
		c.Yield()
		return 0
	}
	if reason != 0 && !ep.exchange(peer, reason) {
		a.refuse(c, peer, reason, nil)
		return 0
	}
	c.Loop().Cancel(a.timer)
	s.SetVia(&service.Via{Peer: s.Peer(), To: h.To, Header: uint64(h.Len)})
	s.SetPeer(peer)
	s.Data = nil
	ep.letIn(c)
	if ep.taps != nil {
		ep.tapInput(c, p[h.Len:])
	}
	if h.Len < len(p) {
		c.Yield() // the service may have paused c
	}
	return h.Len
}

// ended is called when the other end has no more to say. One that has said nothing may
// have looked whether anybody listens.
func (a *announcing) ended(c *evloop.Conn) {
	if c.BytesIn() == 0 {
		c.CloseAfterFlush(0, nil)
		return
	}
	a.refuse(c, service.SessionOf(c).Peer(), report.RefusedHeader, fmt.Errorf("the PROXY header ends after %d bytes", c.BytesIn()))
}

// A refusal ends a connection whose client is not let in.
type refusal struct {
	peer   view.Peer
	reason report.Reason
	err    error // says more, or nil
}

func (r *refusal) Error() string { return "refused: " + r.reason.String() }

func (a *announcing) refuse(c *evloop.Conn, p view.Peer, reason report.Reason, err error) {
	c.Abort(&refusal{p, reason, err})
}

// closed counts and logs a connection whose client was not let in.
func (a *announcing) closed(c *evloop.Conn, err error) {
	a.ep.conns--
	if r, ok := errors.AsType[*refusal](err); ok {
		a.ep.refuse(a.listener, r.peer, r.reason, r.err)
		return
	}
	a.ep.log.Closed(viewConn(c, service.SessionOf(c), a.ep.d.loop.Now()), a.ep.end(err))
}

// What the record of a connection says of a proxy, if there is one.
const (
	tailAnnouncing = 1 // who the client is has yet to be said
	tailVia        = 2
)

// saveAnnounced writes what a proxy has announced of s, or is to; nothing for a client that
// has come by itself.
func saveAnnounced(s *service.Session, w *record.Writer) {
	if a, waits := s.Data.(*announcing); waits {
		w.Number(tailAnnouncing)
		w.Text([]byte(a.listener))
	} else if via := s.Via(); via != nil {
		w.Number(tailVia)
		via.Save(w)
	}
}

// loadAnnounced reads the rest of a record. The result is nil unless s waits for a header.
func loadAnnounced(s *service.Session, r *record.Reader) (*announcing, error) {
	if !r.Left() {
		return nil, r.Err()
	}
	switch r.Number() {
	case tailAnnouncing:
		a := &announcing{listener: string(r.Text())}
		s.Data = a
		return a, r.Err()
	case tailVia:
		via := &service.Via{}
		s.SetVia(via)
		if err := via.Load(r); err != nil {
			return nil, err
		}
		return nil, r.Err()
	}
	return nil, record.ErrDamaged
}
