// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"testing"

	"penstock/daemon/internal/view"
)

// TestSettingsRefused: what the process says of its devices.
func TestSettingsRefused(t *testing.T) {
	source := func(state, refused string) *view.Source {
		return &view.Source{Name: "/dev/x", State: state, Refused: refused}
	}
	services := []view.Service{
		{Name: "echo"},
		{Name: "good", Source: source("up", "")},
		{Name: "slow", Source: source("up", "speed=9600")},
		{Name: "old", Source: source("opening", "speed=9600"), Leaving: true},
	}
	lines, opening := settingsRefused(services)
	if want := []string{"service slow: the driver of /dev/x has refused settings, and has: speed=9600"}; !slices.Equal(lines, want) || opening {
		t.Errorf("%q, and one is being opened: %v; want %q", lines, opening, want)
	}
	services = append(services, view.Service{Name: "new", Source: source("opening", "")})
	if _, opening := settingsRefused(services); !opening {
		t.Error("nobody waits for a device that is being opened")
	}
}
