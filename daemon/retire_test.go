// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"slices"
	"testing"
	"time"

	"penstock/daemon/internal/service"
)

// TestMayStillAsk: who is not cut off at once when a service ends.
func TestMayStillAsk(t *testing.T) {
	for _, tt := range []struct {
		name    string
		bytesIn uint64
		kept    int
		age     time.Duration
		want    bool
	}{
		{"came this moment", 0, 0, 0, true},
		{"is in the middle of its first message", 3, 3, askGrace - 1, true},
		{"is in the middle of its second message", 30, 3, askGrace - 1, true},
		{"was answered", 30, 0, 0, false},
		{"has been silent for long", 0, 0, askGrace, false},
		{"has been in the middle of a message for long", 3, 3, time.Hour, false},
	} {
		if got := mayStillAsk(tt.bytesIn, tt.kept, tt.age); got != tt.want {
			t.Errorf("a client that %s may still ask: %t, want %t", tt.name, got, tt.want)
		}
	}
}

// A runner is a service with something of which there must be one.
type runner struct {
	service.Service
	name  string
	did   *[]string
	ended func()
}

func (r *runner) Start()            { *r.did = append(*r.did, r.name+" starts") }
func (r *runner) Stop(ended func()) { *r.did, r.ended = append(*r.did, r.name+" stops"), ended }

// TestSuccession: what replaces a service that runs a program starts when that has
// ended, and one that was replaced before it could start never does.
func TestSuccession(t *testing.T) {
	var did []string
	d := &Daemon{}
	endpoints := map[string]*endpoint{}
	for _, name := range []string{"a", "b", "c"} {
		endpoints[name] = &endpoint{d: d, svc: &runner{name: name, did: &did}}
	}
	a, b, c := endpoints["a"], endpoints["b"], endpoints["c"]
	a.start()
	b.succeed(a)
	b.start() // has to wait
	a.stop()
	c.succeed(b)
	c.start() // has to wait, too
	b.stop()  // before it has started
	if d.ending != 1 {
		t.Errorf("%d services have yet to end, want the one that runs", d.ending)
	}
	a.svc.(*runner).ended()
	if want := []string{"a starts", "a stops", "c starts"}; !slices.Equal(did, want) {
		t.Errorf("%v, want %v", did, want)
	}
	c.stop()
	c.svc.(*runner).ended()
	if d.ending != 0 {
		t.Errorf("%d services have yet to end at the end", d.ending)
	}
}
