// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"penstock/daemon/internal/control"
	"penstock/daemon/internal/view"
)

// status returns what the daemon says of its companions.
func (r *controlled) told() []view.Companion {
	r.t.Helper()
	var st control.Status
	if err := r.dial().Call(control.Interface+".Status", nil, &st); err != nil {
		r.t.Fatal(err)
	}
	return st.Companions
}

type telling struct {
	Companion string `json:"companion"`
	State     string `json:"state"`
}

// TestTell: what a companion says of itself is shown until it says otherwise or goes.
func TestTell(t *testing.T) {
	r := runControlled(t, joinedServices)
	defer r.stop(t)
	if got := r.told(); got == nil || len(got) > 0 {
		t.Errorf("at first there is %v, want an empty list", got)
	}
	web, mqtt := r.dial(), r.dial()
	for c, say := range map[*control.Client]telling{web: {"web", "1 page"}, mqtt: {"mqtt", "up\x1b"}} {
		if err := c.Call(control.Interface+".Tell", say, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := r.told(), []view.Companion{{Name: "mqtt", State: "up?"}, {Name: "web", State: "1 page"}}; !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
	for _, state := range []string{"down", ""} {
		if err := mqtt.Call(control.Interface+".Tell", telling{"mqtt", state}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := r.told(), []view.Companion{{Name: "web", State: "1 page"}}; !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
	_ = web.Close()
	r.until("it is forgotten", func() bool { return len(r.control.told) == 0 })
	for say, want := range map[telling]string{
		{"a b", "x"}: "companion", {"", "x"}: "companion", {"mqtt", strings.Repeat("x", 257)}: "state",
	} {
		if err := mqtt.Call(control.Interface+".Tell", say, nil); err == nil || err.Error() != control.InvalidParameter(want).Error() {
			t.Errorf("Tell(%v): %v, want that %s is wrong", say, err, want)
		}
	}
}

// TestPresent: members of a room see who is in it on other boards, and what they say, until
// the companion goes; one who joins is told who is here.
func TestPresent(t *testing.T) {
	eachControlled(t, strings.Replace(joinedServices, `join = ""`, `join = "+{name}"`, 1), func(r *controlled) {
		defer r.stop(r.t)
		c := talk(r.t, filepath.Join(r.dir, "r"))
		c.say("/nick bob\n")
		c.hears(fmt.Sprintf("* uid %d pid %d is now bob\n", os.Getuid(), os.Getpid()))
		f := r.join("r", -1, "")
		if first := f.wants(); !slices.Equal(first.Names, []string{"bob"}) {
			r.t.Errorf("the names are %q", first.Names)
		}
		companion := r.dial()
		if err := companion.Call(control.Interface+".Present", control.Presence{Service: "r", Board: "attic", Names: []string{"amy", "bob"}}, nil); err != nil {
			r.t.Fatal(err)
		}
		if n, err := r.publish(control.Publication{Service: "r", Name: "bob", Board: "attic", Tag: "mqtt:1"}, "hi"); n != 1 || err != nil {
			r.t.Errorf("Publish = %d, %v", n, err)
		}
		c.hears("+amy\n+bob@attic\n<bob@attic> hi\n")
		_ = companion.Close()
		c.hears("* alone: the other boards are out of reach\n")
		f.wants("1 publish bob@attic mqtt:1 hi")
		for _, tt := range []struct {
			in   control.Presence
			want *control.Error
		}{
			{control.Presence{Service: "nobody", Board: "attic", Names: []string{}}, control.NoSuchService("nobody")},
			{control.Presence{Service: "e", Board: "attic", Names: []string{}}, control.Refused("nobody is together there: kind echo")},
			{control.Presence{Service: "r", Board: "a/b", Names: []string{}}, control.InvalidParameter("board")},
			{control.Presence{Service: "r", Names: []string{}}, control.InvalidParameter("board")},
		} {
			if err := r.dial().Call(control.Interface+".Present", tt.in, nil); err == nil || err.Error() != tt.want.Error() {
				r.t.Errorf("Present(%+v): %v, want %v", tt.in, err, tt.want)
			}
		}
		if _, err := r.publish(control.Publication{Service: "r", Board: "a/b"}, "x"); err == nil || err.Error() != control.InvalidParameter("board").Error() {
			r.t.Errorf("Publish of board a/b: %v", err)
		}
	})
}

// TestPresentRestart: a restart tells members nothing of other boards, and neither does the
// companion that says the same again.
func TestPresentRestart(t *testing.T) {
	services := strings.Replace(joinedServices, `join = ""`, `join = "+{name}"`, 1)
	eachControlled(t, services, func(r *controlled) {
		c := talk(r.t, filepath.Join(r.dir, "r"))
		companion := r.dial()
		in := control.Presence{Service: "r", Board: "attic", Names: []string{"amy"}}
		if err := companion.Call(control.Interface+".Present", in, nil); err != nil {
			r.t.Fatal(err)
		}
		c.hears("+amy\n")
		r = r.next(services)
		if err := companion.Call(control.Interface+".Present", in, nil); err == nil || errors.Is(err, control.ErrPermission) {
			r.t.Errorf("in the former process: %v", err)
		}
		if err := r.dial().Call(control.Interface+".Present", in, nil); err != nil {
			r.t.Error(err)
		}
		_, _ = r.publish(control.Publication{Service: "r", Name: "amy", Board: "attic"}, "hi")
		c.hears("<amy> hi\n")
		r.stop(r.t)
	})
}
