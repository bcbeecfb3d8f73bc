// SPDX-License-Identifier: Apache-2.0

package report

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/view"
)

// TestStateRecords: SIGUSR1's records are made of a snapshot alone.
func TestStateRecords(t *testing.T) {
	full := &view.Snapshot{
		Phase: "reloading",
		Loop:  view.Loop{Timers: 3, Queued: 77, Accepted: 12, AcceptErrors: 2, StaleEvents: 1, Busy: 9 * time.Microsecond, Asleep: 8 * time.Microsecond, Longest: 7 * time.Microsecond},
		Services: []view.Service{
			{
				Name: "lobby", Kind: "room", Clients: 2, Accepted: 9, Dropped: 4,
				Listeners: []view.Listener{{Address: "127.0.0.1:7000"}, {Address: "127.0.0.1:7001", Dead: true}, {Address: "/run/l"}},
				Missing:   []string{"127.0.0.1:7001"},
				Refused:   map[string]uint64{"uid": 1, "address": 3}, Lost: map[string]uint64{"unanswered": 5},
				Closed: view.Traffic{In: 100, Out: 200}, Open: view.Traffic{In: 1, Out: 2}, Kernel: 60,
				Conns: []view.Conn{
					{
						ID: 8, Peer: view.Peer{Addr: netip.MustParseAddrPort("192.0.2.1:4000")}, Age: 1500 * time.Microsecond,
						Queued: 70, Kernel: 50, Traffic: view.Traffic{In: 1, Out: 2}, Dropped: 4,
					},
					{ID: 9, Peer: view.Peer{UID: 1000, PID: 4711}},
				},
			},
			{Name: "lobby", Kind: "echo", Leaving: true, Clients: 1},
		},
	}
	const services = `
level=INFO msg="service state" service=lobby kind=room listeners="127.0.0.1:7000 /run/l" missing=1 leaving=false conns=2 accepted=9 ` +
		`refused="address=3 uid=1" lost="unanswered=5" kernel_queued_bytes=60 dropped=4 bytes_in=101 bytes_out=202`
	for _, tt := range []struct {
		name     string
		snapshot *view.Snapshot
		peers    config.Peers
		want     string
	}{
		{
			"nothing yet", &view.Snapshot{Phase: "starting"}, config.PeersFull,
			"level=INFO msg=state phase=starting services=0 conns=0 leaving=0 timers=0 queued_bytes=0 accepted=0 accept_errors=0 stale_events=0 busy_us=0 asleep_us=0 longest_turn_us=0",
		},
		{
			"full", full, config.PeersFull,
			"level=INFO msg=state phase=reloading services=1 conns=3 leaving=1 timers=3 queued_bytes=77 accepted=12 accept_errors=2 stale_events=1 busy_us=9 asleep_us=8 longest_turn_us=7" + services + `
level=INFO msg="connection state" service=lobby conn=8 peer=192.0.2.1:4000 queued_bytes=70 kernel_queued_bytes=50 bytes_in=1 bytes_out=2 dropped=4 elapsed_us=1500
level=INFO msg="connection state" service=lobby conn=9 peer="uid 1000 pid 4711" queued_bytes=0 kernel_queued_bytes=0 bytes_in=0 bytes_out=0 dropped=0 elapsed_us=0
level=INFO msg="service state" service=lobby kind=echo listeners="" missing=0 leaving=true conns=1 accepted=0 refused="" lost="" kernel_queued_bytes=0 dropped=0 bytes_in=0 bytes_out=0`,
		},
		{
			"networks of peers only", &view.Snapshot{Phase: "ready", Services: full.Services[:1]}, config.PeersSubnet,
			"level=INFO msg=state phase=ready services=1 conns=2 leaving=0 timers=0 queued_bytes=0 accepted=0 accept_errors=0 stale_events=0 busy_us=0 asleep_us=0 longest_turn_us=0" + services + `
level=INFO msg="connection state" service=lobby conn=8 peer=192.0.2.0/24 queued_bytes=70 kernel_queued_bytes=50 bytes_in=1 bytes_out=2 dropped=4 elapsed_us=1500
level=INFO msg="connection state" service=lobby conn=9 peer="uid 1000" queued_bytes=0 kernel_queued_bytes=0 bytes_in=0 bytes_out=0 dropped=0 elapsed_us=0`,
		},
		{
			"no peers", &view.Snapshot{Phase: "ready", Services: full.Services[:1]}, config.PeersNone,
			"level=INFO msg=state phase=ready services=1 conns=2 leaving=0 timers=0 queued_bytes=0 accepted=0 accept_errors=0 stale_events=0 busy_us=0 asleep_us=0 longest_turn_us=0" + services + `
level=INFO msg="connection state" service=lobby conn=8 queued_bytes=70 kernel_queued_bytes=50 bytes_in=1 bytes_out=2 dropped=4 elapsed_us=1500
level=INFO msg="connection state" service=lobby conn=9 queued_bytes=0 kernel_queued_bytes=0 bytes_in=0 bytes_out=0 dropped=0 elapsed_us=0`,
		},
	} {
		var out strings.Builder
		log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))
		for _, r := range stateRecords(tt.snapshot, tt.peers) {
			log.LogAttrs(context.Background(), slog.LevelInfo, r.message, r.attrs...)
		}
		if got := strings.TrimSpace(out.String()); got != tt.want {
			t.Errorf("%s:\n%s\nwant\n%s", tt.name, got, tt.want)
		}
	}
}
