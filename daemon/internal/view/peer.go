// SPDX-License-Identifier: Apache-2.0

package view

import (
	"encoding/json"
	"net/netip"
	"strconv"
)

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

// Host returns the peer without what changes from one of its connections to the
// next: "192.0.2.1", "uid 1000".
func (p Peer) Host() string {
	if p.Addr.IsValid() {
		return p.Addr.Addr().String()
	}
	return p.user()
}

// Network returns the part of the network that the peer is in, "192.0.2.0/24" or
// "2001:db8::/48", for a log that must not tell who it is; "uid 1000" on a Unix
// socket.
func (p Peer) Network() string {
	addr := p.Addr.Addr()
	if !addr.IsValid() {
		return p.user()
	}
	bits := 48
	if addr.Is4() {
		bits = 24
	}
	return netip.PrefixFrom(addr.WithZone(""), bits).Masked().String()
}

func (p Peer) user() string { return "uid " + strconv.FormatUint(uint64(p.UID), 10) }

// peerJSON is a Peer in JSON: either an address or the user and the process.
type peerJSON struct {
	Address *netip.AddrPort `json:"address,omitempty"`
	UID     *uint32         `json:"uid,omitempty"`
	PID     *int32          `json:"pid,omitempty"`
}

// MarshalJSON writes {"address":"192.0.2.1:4000"} or {"uid":1000,"pid":4711}.
func (p Peer) MarshalJSON() ([]byte, error) {
	if p.Addr.IsValid() {
		return json.Marshal(peerJSON{Address: &p.Addr})
	}
	return json.Marshal(peerJSON{UID: &p.UID, PID: &p.PID})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (p *Peer) UnmarshalJSON(b []byte) error {
	*p = Peer{}
	return json.Unmarshal(b, &peerJSON{Address: &p.Addr, UID: &p.UID, PID: &p.PID})
}
