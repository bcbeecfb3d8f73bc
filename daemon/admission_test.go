// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/listen"
	"penstock/daemon/internal/report"
	"penstock/daemon/internal/view"
)

func tcpPeer(s string) view.Peer { return view.Peer{Addr: netip.MustParseAddrPort(s)} }

// TestAdmit: who is refused, and by which rule if several do: first the lists,
// then the service's own bounds, then the process's.
func TestAdmit(t *testing.T) {
	near, far, user := tcpPeer("192.0.2.1:4000"), tcpPeer("198.51.100.1:4000"), view.Peer{UID: 1000}
	for _, tt := range []struct {
		name   string
		keys   string
		peer   view.Peer
		inside []view.Peer // of this service
		other  []view.Peer // of other services
		want   report.Reason
	}{
		{"nothing is said", "", far, nil, nil, 0},
		{"in allow", "allow=['192.0.2.0/24']", near, nil, nil, 0},
		{"not in allow", "allow=['192.0.2.0/24']", far, nil, nil, report.RefusedAddress},
		{"in deny", "deny=['192.0.2.1']", near, nil, nil, report.RefusedAddress},
		{"allow is not about users", "allow=['192.0.2.0/24']", user, nil, nil, 0},
		{"in allow_uid", "allow_uid=[1000]", user, nil, nil, 0},
		{"not in allow_uid", "allow_uid=[0]", user, nil, nil, report.RefusedUID},
		{"allow_uid is not about addresses", "allow_uid=[0]", near, nil, nil, 0},
		{"the last one of the service", "max_connections=2", near, []view.Peer{far}, nil, 0},
		{"one too many for the service", "max_connections=2", near, []view.Peer{far, far}, nil, report.RefusedService},
		{"the last one of a source", "per_source=2", near, []view.Peer{near, far}, nil, 0},
		{"one too many of a source", "per_source=2", near, []view.Peer{near, near}, nil, report.RefusedSource},
		{"a source with clients of others", "per_source=2", near, nil, []view.Peer{near, near}, 0},
		{"one too many of a source in the process", "", near, nil, []view.Peer{near, near, near, near}, report.RefusedSource},
		{"a full service of one source", "max_connections=1\nper_source=1", near, []view.Peer{near}, nil, report.RefusedService},
		{"denied by a full service", "max_connections=1\ndeny=['192.0.2.1']", near, []view.Peer{near}, nil, report.RefusedAddress},
	} {
		cfg := parse(t, "[limits]\nper_source=4\n[service.a]\nkind='echo'\nlisten=['127.0.0.1:1','/run/x']\n"+tt.keys+"\n")
		d := &Daemon{cfg: cfg, places: 100, sources: newSources()}
		l := &listener{d: d, ep: &endpoint{d: d, conf: cfg.Services[0], sources: newSources()}, Socket: &listen.Socket{Family: unix.AF_INET}}
		if !tt.peer.Addr.IsValid() {
			l.Family = unix.AF_UNIX
		}
		for _, p := range tt.inside {
			l.ep.conns++
			l.ep.sources.add(p)
			d.sources.add(p)
		}
		for _, p := range tt.other {
			d.sources.add(p)
		}
		if got := l.ep.admit(-1, tt.peer); got != tt.want {
			t.Errorf("%s: reason %d, want %d", tt.name, got, tt.want)
		}
	}
}
