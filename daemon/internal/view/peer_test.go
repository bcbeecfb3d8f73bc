// SPDX-License-Identifier: Apache-2.0

package view

import (
	"net/netip"
	"testing"
)

func TestPeer(t *testing.T) {
	for _, tt := range []struct {
		peer                  Peer
		text, host, inNetwork string
	}{
		{Peer{UID: 1000, PID: 4711}, "uid 1000 pid 4711", "uid 1000", "uid 1000"},
		{tcp("192.0.2.77:4000"), "192.0.2.77:4000", "192.0.2.77", "192.0.2.0/24"},
		{tcp("[2001:db8:1:2:3:4:5:6]:4000"), "[2001:db8:1:2:3:4:5:6]:4000", "2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"},
		{tcp("[fe80::1%lo]:4000"), "[fe80::1%lo]:4000", "fe80::1%lo", "fe80::/48"},
	} {
		if got := tt.peer.String(); got != tt.text {
			t.Errorf("String: %q, want %q", got, tt.text)
		}
		if got := tt.peer.Host(); got != tt.host {
			t.Errorf("Host: %q, want %q", got, tt.host)
		}
		if got := tt.peer.Network(); got != tt.inNetwork {
			t.Errorf("Network: %q, want %q", got, tt.inNetwork)
		}
	}
}

func tcp(s string) Peer { return Peer{Addr: netip.MustParseAddrPort(s)} }
