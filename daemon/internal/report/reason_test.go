// SPDX-License-Identifier: Apache-2.0

package report

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
	"penstock/daemon/internal/view"
	"penstock/evloop"
)

func tcp(s string) view.Peer { return view.Peer{Addr: netip.MustParseAddrPort(s)} }

// TestEndOf: the words operators filter by, and who is to hear of it.
func TestEndOf(t *testing.T) {
	tests := []struct {
		err    error
		reason string
		level  slog.Level
	}{
		{nil, "end", slog.LevelDebug},
		{os.NewSyscallError("read", unix.ECONNRESET), "reset", slog.LevelDebug},
		{evloop.ErrIdle, "idle", slog.LevelInfo},
		{evloop.ErrOverflow, "overflow", slog.LevelWarn},
		{evloop.ErrLoopClosed, "shutdown", slog.LevelWarn},
		{evloop.ErrStalled, "stalled", slog.LevelWarn},
		{evloop.ErrMemory, "memory", slog.LevelWarn},
		{evloop.ErrInputFull, "input_full", slog.LevelWarn},
		{NewCause("too long", EndLineTooLong), "line_too_long", slog.LevelWarn},
		{fmt.Errorf("room: %w", NewCause("service ends", EndShutdown)), "shutdown", slog.LevelDebug},
		{errors.New("what nobody thought of"), "error", slog.LevelWarn},
	}
	for _, tt := range tests {
		if reason := EndOf(tt.err); reason.String() != tt.reason || reasons[reason].level != tt.level {
			t.Errorf("EndOf(%v) = %s, %v, want %s, %v", tt.err, reason, reasons[reason].level, tt.reason, tt.level)
		}
	}
}

// TestClosed: the end of a connection is one record. That a client left by itself
// is told at debug only; that one was cut is seen without.
func TestClosed(t *testing.T) {
	tests := []struct {
		err  error
		want string
	}{
		{nil, `level=DEBUG msg="connection closed"`},
		{os.NewSyscallError("read", unix.ECONNRESET), `level=DEBUG msg="connection closed"`},
		{evloop.ErrIdle, `level=INFO msg="connection cut"`},
		{evloop.ErrOverflow, `level=WARN msg="connection cut"`},
	}
	for _, tt := range tests {
		var out bytes.Buffer
		to := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		New(to, config.PeersFull, newFakeClock()).Service("x").Closed(view.Conn{ID: 1, Peer: tcp("192.0.2.1:4000")}, tt.err)
		if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, tt.want) {
			t.Errorf("closed with %v: %q, want one record with %q", tt.err, got, tt.want)
		}
	}
}

// TestReasons: the table has a word for each, and each belongs to one list.
func TestReasons(t *testing.T) {
	listed := append(append(Refusals(), Ends()...), Losses()...)
	if len(listed) != len(reasons)-1 {
		t.Errorf("%d reasons are listed, the table has %d", len(listed), len(reasons)-1)
	}
	for i, r := range listed {
		if int(r) != i+1 || r.String() == "" {
			t.Errorf("reason %d is %q, want the one with number %d", r, r, i+1)
		}
	}
}

// TestLogPeers: log.peers decides how much of an address is written.
func TestLogPeers(t *testing.T) {
	v4, v6, local := tcp("192.0.2.77:4000"), tcp("[2001:db8:1:2:3:4:5:6]:4000"), view.Peer{UID: 1000, PID: 4711}
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
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", peer(tt.peer, tt.peers))
		if _, got, _ := strings.Cut(strings.TrimSpace(out.String()), "msg=x"); strings.TrimSpace(got) != tt.want {
			t.Errorf("%s: %v is logged as %q, want %q", tt.peers, tt.peer, got, tt.want)
		}
	}
}
