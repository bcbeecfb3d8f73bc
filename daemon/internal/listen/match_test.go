// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"testing"

	"penstock/daemon/internal/config"
	"penstock/systemd"
)

func serving(t *testing.T, name string, listen ...string) *config.Service {
	t.Helper()
	s := &config.Service{Name: name, Kind: config.KindEcho}
	for _, text := range listen {
		s.Listen = append(s.Listen, mustAddress(t, text))
	}
	return s
}

func TestAssign(t *testing.T) {
	services := []*config.Service{
		serving(t, "lobby", "127.0.0.1:51423", "/run/penstock/lobby.sock"),
		serving(t, "penstock-x", "[::1]:7"),
		serving(t, "wide", "7000"),
	}
	tests := []struct {
		name   string
		socket systemd.Socket
		want   string // service, and whether the address is listed
	}{
		{"by name", systemd.Socket{Name: "lobby", Addr: "127.0.0.1:51423"}, "lobby listed"},
		{"second of a name", systemd.Socket{Name: "lobby", Addr: "/run/penstock/lobby.sock"}, "lobby listed"},
		{"changed address", systemd.Socket{Name: "lobby", Addr: "127.0.0.1:1"}, "lobby other"},
		{"default name of a unit", systemd.Socket{Name: "penstock-lobby.socket", Addr: "127.0.0.1:51423"}, "lobby listed"},
		{"a name that looks like a unit's", systemd.Socket{Name: "penstock-x", Addr: "[::1]:7"}, "penstock-x listed"},
		{"no names, known address", systemd.Socket{Name: "unknown", Addr: "[::1]:7"}, "penstock-x listed"},
		{"no names, other address", systemd.Socket{Name: "unknown", Addr: "[::1]:8"}, "extra"},
		{"another name at a known address", systemd.Socket{Name: "web", Addr: "127.0.0.1:51423"}, "extra"},
		{"dual stack", systemd.Socket{Name: "wide", Addr: "[::]:7000"}, "wide listed"},
		{"dual stack on a kernel without IPv6", systemd.Socket{Name: "wide", Addr: "0.0.0.0:7000"}, "wide listed"},
		{"unnamed Unix socket", systemd.Socket{Name: "lobby", Addr: ""}, "lobby other"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			claims, extra := Assign(services, []systemd.Socket{tt.socket})
			got := "extra"
			if len(claims) == 1 && len(extra) == 0 {
				got = claims[0].Service.Name + map[bool]string{true: " listed", false: " other"}[claims[0].Listed]
			}
			if got != tt.want {
				t.Errorf("Assign(%+v) = %q, want %q", tt.socket, got, tt.want)
			}
		})
	}
}
