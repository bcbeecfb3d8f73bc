// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/daemon/internal/config"
	"penstock/systemd"
)

func listening(t *testing.T, name string, listen ...string) *config.Service {
	t.Helper()
	s := &config.Service{Name: name, Kind: config.KindEcho}
	for _, text := range listen {
		s.Listen = append(s.Listen, mustAddress(t, text))
	}
	return s
}

func TestAssign(t *testing.T) {
	services := []*config.Service{
		listening(t, "lobby", "127.0.0.1:51423", "/run/penstock/lobby.sock"),
		listening(t, "penstock-x", "[::1]:7"),
		listening(t, "wide", "7000"),
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
			claims, extra := assign(services, []systemd.Socket{tt.socket})
			got := "extra"
			if len(claims) == 1 && len(extra) == 0 {
				got = claims[0].service.Name + map[bool]string{true: " listed", false: " other"}[claims[0].listed]
			}
			if got != tt.want {
				t.Errorf("assign(%+v) = %q, want %q", tt.socket, got, tt.want)
			}
		})
	}
}

func TestDiff(t *testing.T) {
	parse := func(text string) *config.Config {
		t.Helper()
		cfg, err := config.Parse("test.toml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	base := "[service.a]\nkind = 'lookup'\nlisten = ['127.0.0.1:1']\nanswers = { x = 'y' }\n"
	other := "[service.b]\nkind = 'echo'\nlisten = ['127.0.0.1:2']\n"
	room := "[service.c]\nkind = 'room'\nlisten = ['127.0.0.1:4']\nhistory = 9\n"
	chargen := "[service.d]\nkind = 'chargen'\nlisten = ['127.0.0.1:5']\n"
	tests := []struct {
		name, old, next string
		want            string // added, removed, replaced, adjusted, unchanged
	}{
		{"nothing", base, base, "0 0 0 0 1"},
		{"added", base, base + other, "1 0 0 0 1"},
		{"removed", base + other, base, "0 1 0 0 1"},
		{"another answer", base, "[service.a]\nkind = 'lookup'\nlisten = ['127.0.0.1:1']\nanswers = { x = 'z' }\n", "0 0 1 0 0"},
		{"another kind", other, "[service.b]\nkind = 'discard'\nlisten = ['127.0.0.1:2']\n", "0 0 1 0 0"},
		{"a queue", other, other + "queue = '1MiB'\n", "0 0 0 1 0"},
		{"the queue that a room's history has to fit", room, room + "queue = '1MiB'\n", "0 0 1 0 0"},
		{"the queue that chargen fills", chargen, chargen + "queue = '1MiB'\n", "0 0 1 0 0"},
		{"what a lookup does with replies that do not fit", base, base + "overflow = 'disconnect'\n", "0 0 1 0 0"},
		{"an address", other, "[service.b]\nkind = 'echo'\nlisten = ['127.0.0.1:3']\n", "0 0 0 1 0"},
		{"the longest line, which the framing was made with", base, base + "max_line = 10\n", "0 0 1 0 0"},
		{"a default in limits", other, "[limits]\nper_source = 3\n" + other, "0 0 0 1 0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := diff(parse(tt.old), parse(tt.next))
			got := [5]int{len(p.added), len(p.removed), len(p.replaced), len(p.adjusted), p.unchanged}
			var want [5]int
			for i := range want {
				want[i] = int(tt.want[2*i] - '0')
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("added, removed, replaced, adjusted, unchanged (-want +got):\n%s", d)
			}
		})
	}
}

// TestHintOfAStraySocket: a hint says what will help.
func TestHintOfAStraySocket(t *testing.T) {
	for name, want := range map[string]string{
		"removed":              "if its service was removed from the file: penstock apply",
		"penstock-mine.socket": "if its service was removed from the file: penstock apply",
		"web.socket":           "set FileDescriptorName= in web.socket to the name of a service",
	} {
		if got := hintExtra(name); got != want {
			t.Errorf("hintExtra(%q) = %q, want %q", name, got, want)
		}
	}
}
