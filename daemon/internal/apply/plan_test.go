// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/daemon/internal/systemctl"
	"penstock/daemon/internal/unit"
)

// Sockets of the tests: a and b at their own addresses.
const (
	socketA, socketB = "penstock-a.socket", "penstock-b.socket"
	addressA         = "127.0.0.1:7000"
	addressB         = "127.0.0.1:7001"
	inodeA, inodeB   = 100, 200
)

// well is a host on which both sockets listen and were passed on.
func well() host {
	return host{
		units: map[string]systemctl.Unit{
			unit.Target:  {ID: unit.Target, Active: "active"},
			unit.Service: {ID: unit.Service, Active: "active", MainPID: 7},
			socketA:      {ID: socketA, Load: "loaded", Active: "active", Listen: []string{addressA}},
			socketB:      {ID: socketB, Load: "loaded", Active: "active", Listen: []string{addressB}},
		},
		listeners: listeners{addressA: {inodeA}, addressB: {inodeB}},
		manager:   map[uint64]bool{inodeA: true, inodeB: true},
		service:   map[uint64]bool{inodeA: true, inodeB: true},
	}
}

// with returns h with one of its units changed.
func with(h host, name string, change func(*systemctl.Unit)) host {
	u := h.units[name]
	u.ID = name
	change(&u)
	h.units[name] = u
	return h
}

// asGenerated are wishes for sockets that listen where the manager has them.
func asGenerated(texts map[string]string) wanted {
	want := wanted{}
	for name, text := range texts {
		want[name] = wish{text: text}
	}
	return want
}

func keeping(h host) host { h.keep = true; return h }

func sharing(h host) host { h.lost = map[string]string{socketA: "/run/link/x.sock"}; return h }

func stopped(h host) host {
	h = with(h, unit.Service, func(u *systemctl.Unit) { u.Active, u.MainPID = "inactive", 0 })
	h.service = nil
	return h
}

func TestDecide(t *testing.T) {
	generated := []unit.File{{Name: socketA, Text: "a"}, {Name: socketB, Text: "b"}, {Name: unit.ServiceDropIn, Text: "c"}}
	change := func(name, text string) []unit.File {
		files := slices.Clone(generated)
		for i := range files {
			if files[i].Name == name {
				files[i].Text = text
			}
		}
		return files
	}
	atBoot := append(slices.Clone(generated), unit.File{Name: unit.TargetDropIn, Text: "[Unit]\nBefore=penstock.service\n"})
	both := asGenerated(map[string]string{socketA: "a", socketB: "b"})
	tests := []struct {
		name        string
		before, now []unit.File
		want        wanted
		host        host
		plan        plan
	}{
		{"nothing: only the files are read again", generated, generated, both, well(), plan{reload: true}},
		{"nothing, and the service does not run", generated, generated, both, stopped(well()), plan{}},
		{
			"a service that is to run without a client", generated, atBoot, both, stopped(well()),
			plan{restart: []string{unit.Service}, reasons: map[string]string{unit.Service: "is to run without a client"}},
		},
		{"and runs already", generated, atBoot, both, well(), plan{reload: true}},
		{
			"and its target was stopped", generated, atBoot, both,
			with(stopped(well()), unit.Target, func(u *systemctl.Unit) { u.Active = "inactive" }),
			plan{},
		},
		{
			"a changed socket, with the service and without the other", generated, change(socketB, "b2"),
			asGenerated(map[string]string{socketA: "a", socketB: "b2"}),
			well(),
			plan{restart: []string{socketB, unit.Service}, reasons: map[string]string{socketB: "changed"}},
		},
		{
			"a changed socket while the service does not run", generated, change(socketB, "b2"),
			asGenerated(map[string]string{socketA: "a", socketB: "b2"}),
			stopped(well()),
			plan{restart: []string{socketB, unit.Service}, reasons: map[string]string{socketB: "changed"}},
		},
		{
			"a new socket that Upholds= could not start", generated[:1], generated, both,
			with(well(), socketB, func(u *systemctl.Unit) { u.Active = "inactive" }),
			plan{restart: []string{socketB, unit.Service}, reasons: map[string]string{socketB: "new"}},
		},
		{
			"somebody else's daemon-reload has moved it: active, and deaf", generated, generated, both,
			with(well(), socketB, func(u *systemctl.Unit) { u.Listen = []string{"127.0.0.1:7009"} }),
			plan{restart: []string{socketB, unit.Service}, reasons: map[string]string{socketB: "does not listen on 127.0.0.1:7009"}},
		},
		{
			"moved away and back: only the service still has the port", generated, generated, both,
			func() host { h := well(); h.manager = map[uint64]bool{inodeA: true}; return h }(),
			plan{restart: []string{socketB, unit.Service}, reasons: map[string]string{socketB: "does not listen on " + addressB}},
		},
		{
			"a socket that was not passed on", generated, generated, both,
			func() host { h := well(); h.service = map[uint64]bool{inodeA: true}; return h }(),
			plan{restart: []string{socketB, unit.Service}, reasons: map[string]string{socketB: "not passed to penstock.service"}},
		},
		{
			"failed", generated, generated, both,
			with(well(), socketB, func(u *systemctl.Unit) { u.Active, u.Result = "failed", "trigger-limit-hit" }),
			plan{restart: []string{socketB, unit.Service}, reasons: map[string]string{socketB: "failed (trigger-limit-hit)"}},
		},
		{
			"taken by another program: closing the rest would not help", generated, generated, both,
			func() host {
				h := with(well(), socketB, func(u *systemctl.Unit) { u.Active = "failed" })
				h.manager, h.service = map[uint64]bool{inodeA: true}, map[uint64]bool{inodeA: true}
				return h
			}(),
			plan{reload: true},
		},
		{
			"taken by a program that listens on all addresses", generated, generated, both,
			func() host {
				h := with(well(), socketB, func(u *systemctl.Unit) { u.Active = "failed" })
				h.listeners = listeners{addressA: {inodeA}, "0.0.0.0:7001": {inodeB}}
				h.manager, h.service = map[uint64]bool{inodeA: true}, map[uint64]bool{inodeA: true}
				return h
			}(),
			plan{reload: true},
		},
		{
			"all addresses of another interface are in nobody's way before a failure", generated[:1], generated, both,
			func() host {
				h := with(well(), socketB, func(u *systemctl.Unit) { u.Active = "inactive" })
				h.listeners = listeners{addressA: {inodeA}, "0.0.0.0:7001": {inodeB}}
				h.manager, h.service = map[uint64]bool{inodeA: true}, map[uint64]bool{inodeA: true}
				return h
			}(),
			plan{restart: []string{socketB, unit.Service}, reasons: map[string]string{socketB: "new"}},
		},
		{
			"removed: stopped, and the service lets go of it", generated, generated[:1],
			asGenerated(map[string]string{socketA: "a"}),
			with(well(), socketB, func(u *systemctl.Unit) { u.Load = "not-found" }),
			plan{stop: []string{socketB}, restart: []string{unit.Service}, reasons: map[string]string{socketB: "removed"}},
		},
		{
			"removed while the service does not run", generated, generated[:1],
			asGenerated(map[string]string{socketA: "a"}),
			stopped(with(well(), socketB, func(u *systemctl.Unit) { u.Load = "not-found" })),
			plan{stop: []string{socketB}, reasons: map[string]string{socketB: "removed"}},
		},
		{
			"the last one removed: a service without a socket could not start", generated[:1], nil, nil,
			with(with(well(), socketB, func(u *systemctl.Unit) { u.Load, u.Active = "not-found", "inactive" }),
				socketA, func(u *systemctl.Unit) { u.Load = "not-found" }),
			plan{stop: []string{socketA, unit.Service}, reasons: map[string]string{socketA: "removed"}},
		},
		{
			"an administrator's socket of no service is left alone", generated, generated, both,
			with(well(), "penstock-own.socket", func(u *systemctl.Unit) { u.Load, u.Active = "loaded", "active" }),
			plan{reload: true},
		},
		{
			"what has failed and is no more is forgotten", generated, generated, both,
			with(well(), unit.ErrorReport, func(u *systemctl.Unit) { u.Load, u.Active = "not-found", "failed" }),
			plan{reload: true, forget: []string{unit.ErrorReport}},
		},
		{
			"masked while the service ran: it still listens", generated, generated[:1],
			asGenerated(map[string]string{socketA: "a"}),
			func() host {
				h := with(well(), socketB, func(u *systemctl.Unit) { u.Load, u.Active = "masked", "inactive" })
				h.manager = map[uint64]bool{inodeA: true}
				return h
			}(),
			plan{restart: []string{unit.Service}, reasons: map[string]string{unit.Service: "still listens on " + addressB}},
		},
		{
			"another limit of open files is set at a start", generated, change(unit.ServiceDropIn, "c2"), both, well(),
			plan{restart: []string{unit.Service}},
		},
		{
			"what a daemon-reload alone puts in force, such as another description",
			change(socketA, "# old\n[Unit]\nDescription=x\n\n[Socket]\nBacklog=1\n"), change(socketA, "[Unit]\n[Socket]\nBacklog=1\n"),
			asGenerated(map[string]string{socketA: "[Unit]\n[Socket]\nBacklog=1\n", socketB: "b"}),
			well(),
			plan{reload: true},
		},
		{
			"the administrator's own unit in place of the generated one", generated, generated[:1],
			asGenerated(map[string]string{socketA: "a", socketB: ""}),
			well(),
			plan{restart: []string{socketB, unit.Service}, reasons: map[string]string{socketB: "replaced by the administrator's"}},
		},
		{
			"his own unit, as it was before", generated[:1], generated[:1],
			asGenerated(map[string]string{socketA: "a", socketB: ""}),
			well(),
			plan{reload: true, restart: nil},
		},
		{
			"keep: a changed socket that is served", generated, change(socketB, "b2"),
			asGenerated(map[string]string{socketA: "a", socketB: "b2"}),
			keeping(well()),
			plan{reload: true, left: map[string]string{socketB: "changed"}},
		},
		{
			"keep: a changed socket that waits for the service to start", generated, change(socketB, "b2"),
			asGenerated(map[string]string{socketA: "a", socketB: "b2"}),
			keeping(stopped(well())),
			plan{left: map[string]string{socketB: "changed"}},
		},
		{
			"keep: a moved socket, deaf since the daemon-reload", generated, change(socketB, "b2"),
			asGenerated(map[string]string{socketA: "a", socketB: "b2"}),
			keeping(with(well(), socketB, func(u *systemctl.Unit) { u.Listen = []string{"127.0.0.1:7009"} })),
			plan{restart: []string{socketB, unit.Service}, reasons: map[string]string{socketB: "changed"}},
		},
		{
			"keep: one address is deaf, the other is not", generated, generated, both,
			keeping(with(well(), socketB, func(u *systemctl.Unit) { u.Listen = append(u.Listen, "127.0.0.1:7009") })),
			plan{reload: true},
		},
		{
			"the other socket of its file is removed", generated, generated[:1],
			asGenerated(map[string]string{socketA: "a"}),
			sharing(with(well(), socketB, func(u *systemctl.Unit) { u.Load = "not-found" })),
			plan{
				stop: []string{socketB}, restart: []string{socketA, unit.Service},
				reasons: map[string]string{socketA: "shared its file with /run/link/x.sock, which is no more", socketB: "removed"},
			},
		},
		{
			"keep: the same, for it seems to be served and is not", generated, generated[:1],
			asGenerated(map[string]string{socketA: "a"}),
			keeping(sharing(with(well(), socketB, func(u *systemctl.Unit) { u.Load = "not-found" }))),
			plan{
				stop: []string{socketB}, restart: []string{socketA, unit.Service},
				reasons: map[string]string{socketA: "shared its file with /run/link/x.sock, which is no more", socketB: "removed"},
			},
		},
		{
			"without a look at other processes a listener is enough", generated, generated, both,
			func() host { h := well(); h.manager, h.service = nil, nil; return h }(),
			plan{reload: true},
		},
		{
			"the target is stopped: nothing is started", generated[:1], change(socketA, "a2"),
			asGenerated(map[string]string{socketA: "a2", socketB: "b"}),
			func() host {
				h := with(stopped(well()), unit.Target, func(u *systemctl.Unit) { u.Active = "inactive" })
				h = with(h, socketA, func(u *systemctl.Unit) { u.Active = "inactive" })
				return with(h, socketB, func(u *systemctl.Unit) { u.Active = "inactive" })
			}(),
			plan{},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// The drop-in lists the sockets too; here it changes only where a
			// case says so.
			before, now := keepDropIn(tt.before, generated), keepDropIn(tt.now, generated)
			got := decide(before, now, tt.want, tt.host)
			if tt.plan.reasons == nil {
				tt.plan.reasons = map[string]string{}
			}
			if tt.plan.left == nil {
				tt.plan.left = map[string]string{}
			}
			if diff := cmp.Diff(tt.plan, got, cmp.AllowUnexported(plan{})); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// keepDropIn adds the service's drop-in of all where files has none.
func keepDropIn(files, all []unit.File) []unit.File {
	if slices.ContainsFunc(files, func(f unit.File) bool { return f.Name == unit.ServiceDropIn }) {
		return files
	}
	return append(slices.Clone(files), all[len(all)-1])
}
