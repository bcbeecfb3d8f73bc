// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/control"
)

// TestControlRights: who may do what, by user and groups.
func TestControlRights(t *testing.T) {
	const stranger, view, companion, staff = 1 << 30, 1<<30 + 1, 1<<30 + 2, 1<<30 + 3
	own := uint32(os.Geteuid())
	groups := packageGroups{view: view, companion: companion, has: [2]bool{true, true}}
	look, all := []right{mayLook}, []right{mayAct, mayReload, mayJoin, mayLook}
	ownManaged := []right{mayReload, mayLook}
	if own == 0 {
		ownManaged = all
	}
	for _, tt := range []struct {
		name   string
		uid    uint32
		gids   []uint32
		admins config.Admins
		groups packageGroups
		byHand bool
		may    []right
	}{
		{name: "root", uid: 0, groups: groups, may: all},
		{name: "a stranger", uid: stranger, groups: groups, may: look},
		{name: "a stranger, by hand", uid: stranger, groups: groups, byHand: true, may: look},
		{name: "of the group view", uid: stranger, gids: []uint32{view}, groups: groups, may: look},
		{name: "a companion", uid: stranger, gids: []uint32{companion}, groups: groups, may: []right{mayJoin}},
		{name: "a companion that looks", uid: stranger, gids: []uint32{companion, view}, groups: groups, may: []right{mayJoin, mayLook}},
		{name: "a number that no group has here", uid: stranger, gids: []uint32{0}, may: look},
		{name: "an admin", uid: stranger, admins: config.Admins{UIDs: []uint32{stranger}}, groups: groups, may: all},
		{name: "of a group of admins", uid: stranger, gids: []uint32{view, staff}, admins: config.Admins{GIDs: []uint32{staff}}, groups: groups, may: all},
		{name: "of another group", uid: stranger, gids: []uint32{view}, admins: config.Admins{GIDs: []uint32{staff}}, groups: groups, may: look},
		{name: "the daemon's user", uid: own, groups: groups, may: ownManaged},
		{name: "the daemon's user, by hand", uid: own, groups: groups, byHand: true, may: all},
	} {
		d := &Daemon{cfg: &config.Config{Control: config.Control{Admins: tt.admins}}, env: Env{Managed: !tt.byHand}}
		k := &controlSocket{d: d, groups: tt.groups}
		who := caller{tt.uid, func() []uint32 { return tt.gids }}
		for _, need := range []right{mayAct, mayReload, mayJoin, mayLook} {
			if got, want := k.may(who, need), slices.Contains(tt.may, need); got != want {
				t.Errorf("%s: right %d: %v, want %v", tt.name, need, got, want)
			}
		}
		if !k.may(who, mayAsk) {
			t.Errorf("%s may not ask what this is", tt.name)
		}
	}
}

// TestControlRightsOfAll: each method that is described has a right, and each that is there
// is described.
func TestControlRightsOfAll(t *testing.T) {
	described := map[string]bool{}
	for name, text := range control.Descriptions {
		for _, m := range regexp.MustCompile(`(?m)^method (\w+)\(`).FindAllStringSubmatch(text, -1) {
			described[name+"."+m[1]] = true
		}
	}
	if len(described) < 5 {
		t.Fatalf("only %d methods are found in the descriptions", len(described))
	}
	for name := range described {
		if _, ok := rights[name]; !ok {
			t.Errorf("nobody has said who may call %s", name)
		}
		if methods[name] == nil {
			t.Errorf("%s is described, and not there", name)
		}
	}
	for name := range methods {
		if !described[name] {
			t.Errorf("%s is not described", name)
		}
	}
}

// TestGroupsOf: the groups of the other end are those of this process, however many.
func TestGroupsOf(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	want, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, os.Getegid())
	got := groupsOf(fds[0])
	for _, gid := range want {
		if !slices.Contains(got, uint32(gid)) {
			t.Errorf("%d is missing in %v", gid, got)
		}
	}
	if got := groupsOf(-1); got != nil {
		t.Errorf("of nothing: %v", got)
	}
}
