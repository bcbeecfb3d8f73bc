// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/eclipse/paho.golang/packets"
)

// TestKilledRoom: a process that is killed has left in memory what it knew a moment ago. The
// next one shows no line twice, although the daemon does not have it any more and the
// broker brings it once more.
func TestKilledRoom(t *testing.T) {
	memory := t.TempDir()
	t.Setenv("RUNTIME_DIRECTORY", memory)
	file := filepath.Join(memory, "room-lobby")
	r := newRig(t, shared1)
	r.start(t)
	until(t, "the state", func() bool { return r.broker.kept("penstock/room/lobby/board/here") != "" })
	there := func(topic, text string, retain bool) {
		r.broker.publish(nil, &packets.Publish{Topic: "penstock/" + topic, Payload: []byte(text), Retain: retain, Properties: &packets.Properties{}})
	}
	there("board/there", online, true)
	there("room/lobby/board/there", `{"series":"ab","last":0,"start":0,"names":["bob"]}`, true)
	there("room/lobby/line/there", `{"series":"ab","number":1,"name":"bob","text":"one"}`, false)
	if got := next(t, "Publish", r.daemon.published); *got.Data != "one" {
		t.Fatalf("%+v", got)
	}
	var before []byte
	until(t, "its state in memory", func() bool {
		before, _ = os.ReadFile(file)
		return strings.Contains(string(before), `{"board":"there","series":"ab","seen":1,`)
	})

	r.end() // in order, but nothing of that is left
	r.folder = t.TempDir()
	if err := os.WriteFile(file, before, 0o600); err != nil {
		t.Fatal(err)
	}
	r.daemon.kill()
	r.daemon = playDaemon(t)
	r.start(t)
	r.subscribed(t, "penstock/room/lobby/line/+")
	there("room/lobby/line/there", `{"series":"ab","number":1,"name":"bob","text":"one"}`, false)
	there("room/lobby/line/there", `{"series":"ab","number":2,"prev":1,"name":"bob","text":"two"}`, false)
	if got := next(t, "Publish", r.daemon.published); *got.Data != "two" {
		t.Errorf("%q was shown again, want the line behind it", *got.Data)
	}
}
