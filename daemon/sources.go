// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"net/netip"

	"penstock/daemon/internal/view"
)

// sources counts the connections of each source, for one service or for the whole
// process.
type sources struct{ conns map[source]int32 }

// A source is an address, a network, or the user of a Unix socket.
type source struct {
	addr netip.Addr // zero if the source is a user
	uid  uint32
}

func newSources() sources { return sources{make(map[source]int32)} }

// onLink holds the IPv6 networks in which each address is a source: there all
// machines on a link share the first 64 bits. Elsewhere the first 64 bits are the
// network of one customer, and all its addresses are one source.
var onLink = []netip.Prefix{
	netip.MustParsePrefix("fe80::/10"), // RFC 4291, section 2.5.6
	netip.MustParsePrefix("fc00::/7"),  // RFC 4193
}

func sourceOf(p view.Peer) source {
	a := p.Addr.Addr().Unmap()
	if !a.IsValid() {
		return source{uid: p.UID}
	}
	if a.Is4() {
		return source{addr: a}
	}
	for _, link := range onLink {
		if link.Contains(a.WithZone("")) {
			return source{addr: a} // one address on two links is two neighbours
		}
	}
	return source{addr: netip.PrefixFrom(a.WithZone(""), 64).Masked().Addr()}
}

func (s *sources) count(p view.Peer) int { return int(s.conns[sourceOf(p)]) }
func (s *sources) add(p view.Peer)       { s.conns[sourceOf(p)]++ }

func (s *sources) remove(p view.Peer) {
	key := sourceOf(p)
	if s.conns[key]--; s.conns[key] <= 0 {
		delete(s.conns, key)
	}
}
