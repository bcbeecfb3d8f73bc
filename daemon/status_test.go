// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"testing"
	"time"

	"penstock/daemon/internal/view"
)

// TestStatusLine: what matters most comes first, and says what to do.
func TestStatusLine(t *testing.T) {
	lobby := view.Service{Name: "lobby", Clients: 2}
	degraded := view.Service{Name: "echo", Clients: 1, Missing: []string{"127.0.0.1:7"}}
	leaving := view.Service{Name: "old", Clients: 4, Leaving: true, Missing: []string{"127.0.0.1:8"}}
	refused := "a.toml:1: x: unknown key\na.toml:2: y: unknown key"
	bridges := []view.Service{
		{Name: "gps", Source: &view.Source{State: "absent"}},
		{Name: "inverter", Source: &view.Source{State: "lost"}},
		{Name: "scales", Source: &view.Source{State: "up"}},
		{Name: "meter", Source: &view.Source{State: "opening"}},
		{Name: "old", Source: &view.Source{State: "absent"}, Leaving: true},
		{Name: "oracle", Unstarted: true},
		{Name: "site", Unanswered: true},
	}
	for _, tt := range []struct {
		name     string
		snapshot view.Snapshot
		want     string
	}{
		{"nobody yet", view.Snapshot{Services: []view.Service{{Name: "a"}}}, "1 services, 0 connections"},
		{"clients of what leaves count", view.Snapshot{Services: []view.Service{lobby, leaving}}, "1 services, 6 connections"},
		{
			"by hand",
			view.Snapshot{Services: []view.Service{degraded, lobby}},
			"degraded: echo (send SIGHUP, which opens it or says why not); 2 services, 3 connections",
		},
		{
			"by a unit",
			view.Snapshot{Managed: true, Services: []view.Service{degraded}},
			"degraded: echo (run penstock apply, which opens it or says why not); 1 services, 1 connections",
		},
		{
			"services without their device, program or backend",
			view.Snapshot{Services: bridges},
			"no device, program or backend: gps, inverter, oracle, site; 6 services, 0 connections",
		},
		{
			"refused by a reload",
			view.Snapshot{Refused: refused, Services: []view.Service{lobby}},
			"reload refused, the old configuration stays in force: a.toml:1: x: unknown key; 1 services, 2 connections",
		},
		{
			"refused at the start",
			view.Snapshot{Refused: refused, Restored: time.Date(2026, 11, 26, 4, 0, 0, 0, time.UTC), Services: []view.Service{lobby}},
			"configuration refused, serving what was applied on 2026-11-26T04:00:00Z: a.toml:1: x: unknown key; 1 services, 2 connections",
		},
	} {
		if got := statusLine(&tt.snapshot); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
