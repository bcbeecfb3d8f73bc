// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/systemctl"
	"penstock/daemon/internal/unit"
)

// TestAddressesOfTheFile holds what the file lists against what the manager
// has made of it.
func TestAddressesOfTheFile(t *testing.T) {
	const (
		linkLocal = "[fe80::1]:7001%eth9"
		noZone    = "[fe80::1]:7001"
	)
	listed := func(addresses ...string) wish {
		w := wish{text: "b"}
		for _, text := range addresses {
			a, err := config.ParseAddress(text)
			if err != nil {
				t.Fatal(err)
			}
			w.listen = append(w.listen, a)
		}
		return w
	}
	has := func(addresses ...string) host {
		h := with(well(), socketB, func(u *systemctl.Unit) { u.Listen = addresses })
		h.interfaces = map[string]string{"eth0": "2"}
		return h
	}
	inactive := func(h host) host {
		return with(h, socketB, func(u *systemctl.Unit) { u.Load, u.Active = "bad-setting", "inactive" })
	}
	listening := func(h host, address string) host { h.listeners[address] = []uint64{inodeB}; return h }
	tests := []struct {
		name  string
		host  host
		wish  wish
		fault string
		cure  cure
	}{
		{"as listed", has(addressB), listed(addressB), "", futile},
		{
			"an interface that is missing, beside an address that is served", has(addressB), listed(addressB, linkLocal),
			linkLocal + ": there is no network interface eth9; once there is: penstock apply", futile,
		},
		{
			"an interface that is missing, and nothing else", inactive(has()), listed(linkLocal),
			linkLocal + ": there is no network interface eth9; once there is: penstock apply", harmful,
		},
		{
			"an interface that is missing, and a restart is due all the same",
			with(has(addressB), socketB, func(u *systemctl.Unit) { u.Active = "inactive" }), listed(addressB, linkLocal),
			"not active", helps,
		},
		{
			"taken out by a drop-in", has("127.0.0.1:7009"), listed(addressB),
			"does not listen on 127.0.0.1:7009", helps,
		},
		{
			"taken out by a drop-in that is in force", listening(has("127.0.0.1:7009"), "127.0.0.1:7009"), listed("127.0.0.1:7008"),
			"127.0.0.1:7008 is not in the unit as systemd reads it, see: systemctl cat penstock-b.socket", futile,
		},
		{"added by a drop-in", has(addressB, "127.0.0.1:7009"), listed(addressB), "does not listen on 127.0.0.1:7009", helps},
		{"an interface by number", listening(has("[fe80::1]:7001%eth0"), noZone), listed("[fe80::1]:7001%2"), "", futile},
		{"a kernel without IPv6", listening(has("0.0.0.0:7001"), "0.0.0.0:7001"), listed("7001"), "", futile},
		{"of the administrator's own unit the manager knows", has(addressB), wish{}, "", futile},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fault, cure := tt.host.fault(socketB, tt.wish)
			if fault != tt.fault || cure != tt.cure {
				t.Errorf("fault() = %q, %v, want %q, %v", fault, cure, tt.fault, tt.cure)
			}
		})
	}
}

func TestFaultsAfterARestart(t *testing.T) {
	both := asGenerated(map[string]string{socketA: "a", socketB: "b"})
	all := []string{socketA, socketB, unit.Service}
	dead := with(well(), unit.Service, func(u *systemctl.Unit) {
		u.Active, u.Sub, u.Result, u.Status, u.MainPID = "activating", "auto-restart", "exit-code", "no file", 0
	})
	taken := well()
	taken.manager, taken.service = map[uint64]bool{inodeA: true}, map[uint64]bool{inodeA: true}
	tests := []struct {
		name          string
		host          host
		restarted     []string
		lines, canTry []string
	}{
		{"all is well", well(), all, nil, nil},
		{
			"the service does not come up", dead, all,
			[]string{"penstock.service: activating (auto-restart, exit-code): no file"},
			[]string{unit.Service},
		},
		{"that it does not run is no fault by itself", stopped(well()), nil, nil, nil},
		{
			"one of two addresses, and the other is to be kept",
			keeping(with(well(), socketB, func(u *systemctl.Unit) { u.Listen = append(u.Listen, "127.0.0.1:7009") })), all,
			[]string{"penstock-b.socket: does not listen on 127.0.0.1:7009"},
			nil,
		},
		{
			"a port that somebody else has is not tried again", taken, all,
			[]string{"penstock-b.socket: 127.0.0.1:7001 is taken by another program"},
			nil,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			lines, _, canTry := tt.host.faults(both, tt.restarted)
			if diff := cmp.Diff([][]string{tt.lines, tt.canTry}, [][]string{lines, canTry}); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
