// SPDX-License-Identifier: Apache-2.0

package service

import (
	"net/netip"

	"penstock/daemon/internal/view"
	"penstock/evloop"
)

// A Session is what c.State holds for every accepted connection. The daemon
// makes it; a service may write Data only.
type Session struct {
	ID    uint64    // never reused within a process, below 2^53, so that any JSON reader keeps it
	Peer  view.Peer // the client; what a proxy has announced, if Via is set
	Since evloop.Time
	Owner *Owner // the part of the daemon to which the connection belongs
	Data  any    // the service's own; nil for kinds that remember nothing. Before Open it is the daemon's
	Via   *Via   // nil: the client is the other end of the connection

	at   int32  // index in the fanout of its service,
	next uint32 // and the number of the first message that it has not got, as fanout counts
}

// An Owner is a part of the daemon to which connections belong. It is pointed to, for an
// interface would take twice the room in each Session, and an idle client holds little
// else: 96 bytes.
type Owner struct{ Part any }

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
	if s.Via != nil {
		return s.Via.Peer
	}
	return s.Peer
}

// IsTCP reports whether the connection is one of TCP, whatever was announced.
func (s *Session) IsTCP() bool { return s.Other().Addr.IsValid() }

// AnnouncedTo returns where a proxy says that the client has connected to, or the zero
// value.
func (s *Session) AnnouncedTo() netip.AddrPort {
	if s.Via != nil {
		return s.Via.To
	}
	return netip.AddrPort{}
}

// BytesIn returns how many bytes the client of c has sent.
func (s *Session) BytesIn(c *evloop.Conn) uint64 {
	n := c.BytesIn()
	if s.Via != nil {
		n -= min(n, s.Via.Header)
	}
	return n
}

// BytesOut returns how many bytes were sent to the client of c.
func (s *Session) BytesOut(c *evloop.Conn) uint64 {
	n := c.BytesOut()
	if s.Via != nil {
		n -= min(n, s.Via.Before)
	}
	return n
}

// given returns how many bytes were sent to the client of c, or wait to be.
func (s *Session) given(c *evloop.Conn) uint64 {
	n := c.BytesOut() + uint64(c.Queued())
	if s.Via != nil {
		n -= s.Via.Before
	}
	return n
}
