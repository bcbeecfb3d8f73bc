// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path/filepath"
	"testing"
	"time"

	"penstock/daemon/internal/boards"
)

// TestGivenAfterJoin: what a room gives out behind the end of Join, and before it knows of
// that, goes to no daemon, since the room gives it out again.
func TestGivenAfterJoin(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control")
	x := &shared{
		name: "lobby", service: "lobby", board: "here", door: &door{path: func() string { return path }},
		room:  boards.New(boards.Options{Room: "lobby", Board: "here"}),
		inbox: make(chan input, inboxSize), more: make(chan struct{}, 1),
	}
	now := time.Now()
	x.room.Joined(now, "ab", 0, 0)
	x.room.Up(now)
	ended := make(chan error, 1)
	go func() { ended <- x.join(t.Context()) }()
	next(t, "After", x.inbox)(x.room, now)
	left := next(t, "Left", x.inbox)
	if err := next(t, "the end of Join", ended); err == nil {
		t.Error("there is no daemon, and no error")
	}
	x.room.Heard(now, "penstock/room/lobby/line/there", []byte(`{"series":"cd","number":1,"text":"hi"}`), false)
	given := 0
	for _, out := range x.room.Take() {
		if d, ok := out.(boards.Deliver); ok {
			x.do(d)
			given++
		}
	}
	left(x.room, now)
	if given != 1 || len(x.pending) > 0 {
		t.Errorf("%d given out, of which %d wait; want 1 and 0", given, len(x.pending))
	}
}
