// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"penstock/evloop/bench/load"
)

// TestKinds goes the whole way with the daemon of this tree, for each kind: it serves
// every cell, and what was measured is printed.
func TestKinds(t *testing.T) {
	bin := buildDaemon(t)
	for kind, base := range kindYardsticks {
		s := settings{
			kind: kind, peers: "none", penstock: bin, base: base, out: t.TempDir(), cells: ".*[^k]1?", // stuck1 warms up for long
			plan: Plan{Rounds: 1, Foreign: 1e9}, warmup: 10 * time.Millisecond, window: 100 * time.Millisecond,
		}
		var out, log strings.Builder
		if err := run(t.Context(), s, &out, &log); err != nil {
			t.Fatalf("%s: %v\n%s", kind, err, log.String())
		}
		if log.Len() > 0 {
			t.Errorf("%s: complaints: %s", kind, log.String())
		}
		cells, err := s.chosen()
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(out.String(), "  penstock  1"); got != len(cells) {
			t.Errorf("%s: %d cells have a figure, want %d:\n%s", kind, got, len(cells), out.String())
		}
	}
}

// TestKindThatIsNone: a kind without cells is refused.
func TestKindThatIsNone(t *testing.T) {
	if _, err := (settings{kind: "echo"}).chosen(); err == nil {
		t.Error("-kind echo is no error")
	}
}

// TestInstalled: a program of the distribution runs, or it is named once as missing. One
// that has no part in the cells is neither.
func TestInstalled(t *testing.T) {
	var log strings.Builder
	cells := kindCells("bridge", false)
	peers := installed(nil, cells, &log)
	for _, p := range programs {
		ran := slices.ContainsFunc(peers, func(q Peer) bool { return q.Name == p.Name })
		left := strings.Count(log.String(), p.Name+" is left out: it is not installed\n")
		want := 0
		if slices.Contains(p.Modes, load.Bridge) && !ran {
			want = 1
		}
		if left != want || ran && !slices.Contains(p.Modes, load.Bridge) {
			t.Errorf("%s takes part: %v; it is left out %d times:\n%s", p.Name, ran, left, log.String())
		}
	}
	if got := installed([]string{"nobody"}, cells, &log); len(got) != 0 {
		t.Errorf("others were asked for, yet %v", got)
	}
}

// TestNames: nothing that a program's command or configuration leaves open stays open.
func TestNames(t *testing.T) {
	g := Rig{Dir: "/tmp", behind: "127.0.0.1:7", device: "/dev/pts/1"}
	open := regexp.MustCompile(`\{[a-z ]+\}`)
	for _, p := range programs {
		r := g.names(p, Cell{Mode: p.Modes[0], Network: "tcp"}, "127.0.0.1:9", "/tmp/penstock.toml")
		for _, text := range append(slices.Clone(p.Command), p.File) {
			if left := open.FindString(r.Replace(text)); left != "" {
				t.Errorf("%s: %s stays open in %q", p.Name, left, text)
			}
		}
	}
}

// TestPTY: a device passes on all bytes as they are, and its master does not block.
func TestPTY(t *testing.T) {
	master, slave, err := openPTY()
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll([]*os.File{master, slave})
	want := "a\r\n\x03\x04\xff\n"
	if _, err := master.WriteString(want); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 100)
	n, err := slave.Read(got)
	if err != nil || string(got[:n]) != want {
		t.Errorf("read %q, %v, want %q", got[:n], err, want)
	}
}
