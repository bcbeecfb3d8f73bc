// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/service"
	"penstock/daemon/internal/view"
	"penstock/evloop"
)

func tcpPeer(s string) view.Peer { return view.Peer{Addr: netip.MustParseAddrPort(s)} }

// TestReasonOf: the words operators filter by, and who is to hear of it.
func TestReasonOf(t *testing.T) {
	tests := []struct {
		err    error
		reason string
		level  slog.Level
	}{
		{nil, "end", slog.LevelDebug},
		{os.NewSyscallError("read", unix.ECONNRESET), "reset", slog.LevelDebug},
		{evloop.ErrIdle, "idle", slog.LevelInfo},
		{evloop.ErrOverflow, "overflow", slog.LevelWarn},
		{evloop.ErrStalled, "stalled", slog.LevelWarn},
		{evloop.ErrMemory, "memory", slog.LevelWarn},
		{evloop.ErrInputFull, "input_full", slog.LevelWarn},
		{service.ErrLineTooLong, "line_too_long", slog.LevelWarn},
		{fmt.Errorf("room: %w", service.ErrShutdown), "shutdown", slog.LevelDebug},
		{errors.New("what nobody thought of"), "error", slog.LevelWarn},
	}
	for _, tt := range tests {
		if reason, level := reasonOf(tt.err); reason != tt.reason || level != tt.level {
			t.Errorf("reasonOf(%v) = %s, %v, want %s, %v", tt.err, reason, level, tt.reason, tt.level)
		}
	}
}

// TestLogPeers: log.peers decides how much of an address is written.
func TestLogPeers(t *testing.T) {
	v4, v6, local := tcpPeer("192.0.2.77:4000"), tcpPeer("[2001:db8:1:2:3:4:5:6]:4000"), view.Peer{UID: 1000, PID: 4711}
	tests := []struct {
		peers config.Peers
		peer  view.Peer
		want  string
	}{
		{config.PeersFull, v4, "peer=192.0.2.77:4000"},
		{config.PeersFull, local, `peer="uid 1000 pid 4711"`},
		{config.PeersSubnet, v4, "peer=192.0.2.0/24"},
		{config.PeersSubnet, v6, "peer=2001:db8:1::/48"},
		{config.PeersSubnet, local, `peer="uid 1000"`},
		{config.PeersNone, v4, ""},
		{config.PeersNone, local, ""},
	}
	for _, tt := range tests {
		var out bytes.Buffer
		j := &journal{peers: tt.peers}
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", j.peer(tt.peer))
		if _, got, _ := strings.Cut(strings.TrimSpace(out.String()), "msg=x"); strings.TrimSpace(got) != tt.want {
			t.Errorf("%s: %v is logged as %q, want %q", tt.peers, tt.peer, got, tt.want)
		}
	}
}
