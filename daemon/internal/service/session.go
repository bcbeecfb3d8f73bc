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
	Owner any // the part of the daemon to which the connection belongs
	Data  any // the service's own; nil for kinds that remember nothing. Before Open it is the daemon's
	Via   *Via

	at   int    // index in the fanout of its service,
	next uint64 // and the number of the first message that it has not got
}

// SessionOf returns the session of a connection that the daemon accepted.
func SessionOf(c *evloop.Conn) *Session { return c.State.(*Session) }

// Via is the proxy through which a client has come, by the key accept_proxy.
type Via struct {
	Peer   view.Peer      // the proxy itself, the other end of the connection
	To     netip.AddrPort // where the client has connected to, as the proxy says; zero: unknown
	Header int            // bytes that were not the client's
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
		n -= min(n, uint64(s.Via.Header))
	}
	return n
}
