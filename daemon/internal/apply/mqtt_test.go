// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/daemon/internal/systemctl"
	"penstock/daemon/internal/unit"
)

// TestDecideMQTT: the companion comes, goes and is restarted with its drop-in, and the
// daemon is not.
func TestDecideMQTT(t *testing.T) {
	sockets := []unit.File{{Name: socketA, Text: "a"}, {Name: socketB, Text: "b"}}
	with1 := append(sockets[:2:2], unit.File{Name: unit.MQTTDropIn, Text: "[Service]\nX-Table=1\n"})
	with2 := append(sockets[:2:2], unit.File{Name: unit.MQTTDropIn, Text: "[Service]\nX-Table=2\n"})
	is := func(state string) host {
		return with(well(), unit.MQTTService, func(u *systemctl.Unit) { u.Active = state })
	}
	const name = unit.MQTTService
	restart := func(why string) plan {
		return plan{restart: []string{name}, reload: true, reasons: map[string]string{name: why}}
	}
	for _, tt := range []struct {
		name        string
		before, now []unit.File
		host        host
		plan        plan
	}{
		{"nothing", with2, with2, is("active"), plan{reload: true}},
		{"stopped by hand", with2, with2, is("inactive"), plan{reload: true}},
		{"failed", with2, with2, is("failed"), restart("has failed")},
		{"changed", with1, with2, is("active"), restart("changed")},
		{"new", sockets, with2, is("inactive"), restart("new")},
		{"new, and no port may be closed", sockets, with2, keeping(is("inactive")), restart("new")},
		{"removed", with2, sockets, is("active"), plan{stop: []string{name}, reload: true, reasons: map[string]string{name: "removed"}}},
		{"removed, and did not run", with2, sockets, is("inactive"), plan{reload: true}},
		{"nothing is served", with1, with2, with(is("inactive"), unit.Target, func(u *systemctl.Unit) { u.Active = "inactive" }), plan{reload: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := decide(tt.before, tt.now, asGenerated(map[string]string{socketA: "a", socketB: "b"}), tt.host)
			if len(got.reasons) == 0 {
				got.reasons = nil
			}
			got.left = nil
			if diff := cmp.Diff(tt.plan, got, cmp.AllowUnexported(plan{})); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	h := with(is("failed"), name, func(u *systemctl.Unit) { u.Result = "exit-code" })
	if lines, unopened, curable := h.faults(nil, []string{name}); len(lines) != 1 || lines[0] != name+": failed (exit-code)" || len(unopened)+len(curable) > 0 {
		t.Errorf("it has failed: %q %q %q", lines, unopened, curable)
	}
}
