// SPDX-License-Identifier: Apache-2.0

package config

import (
	"slices"
	"strings"
	"testing"
)

// TestAdmins: users and groups are named or numbered, and a name that the machine does not
// have is a warning, and nobody.
func TestAdmins(t *testing.T) {
	const service = "\n[service.x]\nkind='echo'\nlisten=['127.0.0.1:7000']\n"
	c, err := Parse("t.toml", []byte("[control]\nadmins = ['root', 7, '12', '@root', '@34', 'no-such-user', '@no-such-group']"+service))
	if err != nil {
		t.Fatal(err)
	}
	a := c.Control.Admins
	if !slices.Equal(a.UIDs, []uint32{0, 7, 12}) || !slices.Equal(a.GIDs, []uint32{0, 34}) {
		t.Errorf("%+v", a)
	}
	var said []string
	for _, w := range c.Warnings {
		said = append(said, w.String())
	}
	want := []string{
		`t.toml:2: control.admins: warning: there is no user "no-such-user" in /etc/passwd, so it is nobody`,
		`t.toml:2: control.admins: warning: there is no group "no-such-group" in /etc/group, so it is nobody`,
	}
	if !slices.Equal(said, want) {
		t.Errorf("the warnings are\n%s", strings.Join(said, "\n"))
	}
	for _, tt := range []struct {
		uid  uint32
		gids []uint32
		want bool
	}{{7, nil, true}, {8, nil, false}, {8, []uint32{1, 34}, true}, {34, []uint32{7}, false}} {
		if got := a.Has(tt.uid, tt.gids); got != tt.want {
			t.Errorf("Has(%d, %v) = %v", tt.uid, tt.gids, got)
		}
	}
	for _, bad := range []string{"'root'", "[-1]", "[true]", "[4294967295]"} {
		if _, err := Parse("t.toml", []byte("[control]\nadmins = "+bad+service)); err == nil || !strings.Contains(err.Error(), "control.admins: ") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
