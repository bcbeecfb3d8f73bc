// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bytes"
	"net/netip"
	"testing"

	"penstock/daemon/internal/record"
	"penstock/daemon/internal/service"
	"penstock/daemon/internal/view"
)

// FuzzNewcomer: what is read of who waits for a place is written back with the same bytes.
func FuzzNewcomer(f *testing.F) {
	for _, addr := range []string{"192.0.2.1:7", "[fe80::1%eth0]:7", "[::ffff:192.0.2.1]:7"} {
		n := newcomer{service: "e", listener: "127.0.0.1:7", peer: netip.MustParseAddrPort(addr)}
		f.Add([]byte(n.save()))
	}
	f.Add((&newcomer{service: "e", listener: "/run/s"}).save())
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, ok := readNewcomer(3, b); ok && !bytes.Equal(n.save(), b) {
			t.Errorf("%x is written back as %x", b, n.save())
		}
	})
}

// FuzzSilent: the same for a client that has shut its side in silence.
func FuzzSilent(f *testing.F) {
	f.Add([]byte("\x00"))
	f.Add([]byte("\x05\x07"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := record.NewReader(b)
		s := loadSilent(r)
		if r.Err() != nil {
			return
		}
		var w record.Writer
		if s.save(&w); !bytes.Equal(w, b) {
			t.Errorf("%x is written back as %x", b, []byte(w))
		}
	})
}

// FuzzAnnounced: the same for what a proxy has announced, or is to.
func FuzzAnnounced(f *testing.F) {
	proxy := view.Peer{UID: 1000, PID: 7}
	for _, s := range []service.Session{
		{},
		{Data: &announcing{listener: "127.0.0.1:7"}},
		{Owner: &service.Owner{Via: &service.Via{Peer: proxy, Header: 28, To: netip.MustParseAddrPort("192.0.2.1:443")}}},
		{Owner: &service.Owner{Via: &service.Via{Peer: view.Peer{Addr: netip.MustParseAddrPort("[::1]:7")}, Header: 15}}},
		{Owner: &service.Owner{Via: &service.Via{Peer: view.Peer{UID: 1000, PID: 4711}, Header: 1 << 20, Before: 3}}},
	} {
		var w record.Writer
		saveAnnounced(&s, &w)
		f.Add([]byte(w))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var s service.Session
		if _, err := loadAnnounced(&s, record.NewReader(b)); err != nil {
			return
		}
		var w record.Writer
		if saveAnnounced(&s, &w); !bytes.Equal(w, b) {
			t.Errorf("%x is written back as %x", b, []byte(w))
		}
	})
}
