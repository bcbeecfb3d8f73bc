// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/daemon/internal/systemctl"
	"penstock/daemon/internal/unit"
)

// TestDecideWeb: the socket of the page comes and goes without a restart of the daemon,
// which does not hold it.
func TestDecideWeb(t *testing.T) {
	const text = "[Socket]\nService=penstock-web.service\nX-Table="
	sockets := []unit.File{{Name: socketA, Text: "a"}, {Name: socketB, Text: "b"}}
	with1 := append(sockets[:2:2], unit.File{Name: unit.WebSocket, Text: text + "1\n"})
	with2 := append(sockets[:2:2], unit.File{Name: unit.WebSocket, Text: text + "2\n"})
	services := asGenerated(map[string]string{socketA: "a", socketB: "b"})
	both := asGenerated(map[string]string{socketA: "a", socketB: "b"})
	both[unit.WebSocket] = wish{text: text + "2\n", other: true}
	// The manager holds the page's socket, and the daemon does not.
	open := func(load string) host {
		h := with(well(), unit.WebSocket, func(u *systemctl.Unit) { u.Load, u.Active, u.Listen = load, "active", []string{"127.0.0.1:8377"} })
		h.listeners["127.0.0.1:8377"], h.manager[300] = []uint64{300}, true
		return h
	}
	for _, tt := range []struct {
		name        string
		before, now []unit.File
		want        wanted
		host        host
		plan        plan
	}{
		{"nothing", with2, with2, both, open("loaded"), plan{reload: true}},
		{"changed", with1, with2, both, open("loaded"), plan{restart: []string{unit.WebSocket}, reload: true, reasons: map[string]string{unit.WebSocket: "changed"}}},
		{"new", sockets, with2, both, well(), plan{restart: []string{unit.WebSocket}, reload: true, reasons: map[string]string{unit.WebSocket: "new"}}},
		{"removed", with2, sockets, services, open("not-found"), plan{stop: []string{unit.WebSocket}, reload: true, reasons: map[string]string{unit.WebSocket: "removed"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := decide(tt.before, tt.now, tt.want, tt.host)
			if len(got.reasons) == 0 {
				got.reasons = nil
			}
			got.left = nil
			if diff := cmp.Diff(tt.plan, got, cmp.AllowUnexported(plan{})); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
