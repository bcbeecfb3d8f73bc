// SPDX-License-Identifier: Apache-2.0

package service

import (
	"net/netip"

	"penstock/daemon/internal/view"
	"penstock/evloop"
)

// A Session is what c.State holds for every accepted connection. The daemon
// makes it; a service may write Data only.
//
// An idle client holds little else than a Session and an evloop.Conn. So there is no field
// for what few sessions have, and 80 bytes are a class of Go's allocator.
type Session struct {
	ID    uint64 // never reused within a process, below 2^53, so that any JSON reader keeps it
	Since evloop.Time
	Owner *Owner // the part of the daemon to which the connection belongs
	Data  any    // the service's own; nil for kinds that remember nothing. Before Open it is the daemon's

	peer smallPeer
	at   int32  // index in the fanout of its service,
	next uint32 // and the number of the first message that it has not got, as fanout counts
}

// NewSession returns the session of peer, which belongs to owner.
func NewSession(id uint64, peer view.Peer, since evloop.Time, owner *Owner) *Session {
	return &Session{ID: id, Since: since, Owner: owner, peer: small(peer)}
}

// An Owner is a part of the daemon to which connections belong. It is pointed to, for an
// interface would take twice the room in each Session. All clients of a part have one, but
// those that have come through a proxy, which have one each.
type Owner struct {
	Part any
	Via  *Via
}

// A smallPeer is a view.Peer in 32 bytes in place of 40: a client has either an address and
// a port, or a user and a process.
type smallPeer struct {
	addr      netip.Addr // zero: of a Unix socket
	portOrUID uint32
	pid       int32
}

func small(p view.Peer) smallPeer {
	if p.Addr.IsValid() {
		return smallPeer{addr: p.Addr.Addr(), portOrUID: uint32(p.Addr.Port())}
	}
	return smallPeer{portOrUID: p.UID, pid: p.PID}
}

// Peer returns the client; what a proxy has announced, if there is a Via.
func (s *Session) Peer() view.Peer {
	if p := &s.peer; p.addr.IsValid() {
		return view.Peer{Addr: netip.AddrPortFrom(p.addr, uint16(p.portOrUID))}
	}
	return view.Peer{UID: s.peer.portOrUID, PID: s.peer.pid}
}

// SetPeer makes p what Peer returns.
func (s *Session) SetPeer(p view.Peer) { s.peer = small(p) }

// Via returns through whom the client has come, or nil: it is the other end of the
// connection.
func (s *Session) Via() *Via {
	if s.Owner == nil {
		return nil
	}
	return s.Owner.Via
}

// SetVia makes v what Via returns.
func (s *Session) SetVia(v *Via) {
	o := &Owner{Via: v}
	if s.Owner != nil {
		o.Part = s.Owner.Part
	}
	s.Owner = o
}

// SessionOf returns the session of a connection that the daemon accepted.
func SessionOf(c *evloop.Conn) *Session { return c.State.(*Session) }

// Via is the proxy through which a client has come, by the key accept_proxy, or the
// program that has made its control connection that of a client, by Connect.
type Via struct {
	Peer   view.Peer      // the proxy itself, the other end of the connection
	To     netip.AddrPort // where the client has connected to, as the proxy says; zero: unknown
	Header uint64         // bytes that came before and were not the client's
	Before uint64         // bytes that were sent before and were not for it; 0: it has come by accept_proxy
}

// Other returns the other end of the connection itself, client or proxy.
func (s *Session) Other() view.Peer {
	if v := s.Via(); v != nil {
		return v.Peer
	}
	return s.Peer()
}

// IsTCP reports whether the connection is one of TCP, whatever was announced.
func (s *Session) IsTCP() bool { return s.Other().Addr.IsValid() }

// AnnouncedTo returns where a proxy says that the client has connected to, or the zero
// value.
func (s *Session) AnnouncedTo() netip.AddrPort {
	if v := s.Via(); v != nil {
		return v.To
	}
	return netip.AddrPort{}
}

// BytesIn returns how many bytes the client of c has sent.
func (s *Session) BytesIn(c *evloop.Conn) uint64 {
	n := c.BytesIn()
	if v := s.Via(); v != nil {
		n -= min(n, v.Header)
	}
	return n
}

// BytesOut returns how many bytes were sent to the client of c.
func (s *Session) BytesOut(c *evloop.Conn) uint64 {
	n := c.BytesOut()
	if v := s.Via(); v != nil {
		n -= min(n, v.Before)
	}
	return n
}

// given returns how many bytes were sent to the client of c, or wait to be.
func (s *Session) given(c *evloop.Conn) uint64 {
	n := c.BytesOut() + uint64(c.Queued())
	if v := s.Via(); v != nil {
		n -= v.Before
	}
	return n
}
