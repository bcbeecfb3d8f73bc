// SPDX-License-Identifier: Apache-2.0

package service

import (
	"net/netip"
	"strconv"

	"penstock/evloop"
)

// A Session is what c.State holds for every accepted connection. The daemon
// makes it; a service may write Data only.
type Session struct {
	ID    uint64 // never reused within a process, below 2^53, so that any JSON reader keeps it
	Peer  Peer
	Since evloop.Time
	Owner any // the part of the daemon to which the connection belongs
	Data  any // the service's own; nil for kinds that remember nothing

	at   int    // index in the fanout of its service,
	next uint64 // and the number of the first message that it has not got
}

// SessionOf returns the session of a connection that the daemon accepted.
func SessionOf(c *evloop.Conn) *Session { return c.State.(*Session) }

// A Peer is the client at the other end.
type Peer struct {
	Addr netip.AddrPort // of a TCP peer, never IPv4-mapped; zero for a Unix socket
	UID  uint32         // of a Unix peer, by SO_PEERCRED at the time of connect(2) (unix(7))
	PID  int32
}

// String returns "192.0.2.1:4000", "[2001:db8::1]:4000" or "uid 1000 pid 4711".
func (p Peer) String() string {
	if p.Addr.IsValid() {
		return p.Addr.String()
	}
	return p.user() + " pid " + strconv.Itoa(int(p.PID))
}

// Host returns the peer without what changes from one connection of his to
// the next: "192.0.2.1", "uid 1000".
func (p Peer) Host() string {
	if p.Addr.IsValid() {
		return p.Addr.Addr().String()
	}
	return p.user()
}

func (p Peer) user() string { return "uid " + strconv.FormatUint(uint64(p.UID), 10) }
