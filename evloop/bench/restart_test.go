// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock/evloop/bench/load"
)

// buildDaemon builds the daemon of this tree.
func buildDaemon(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "penstock")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "./daemon/cmd/penstock")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return bin
}

// TestRestart goes the whole way with the daemon of this tree: it restarts under load,
// and what was measured is printed. What is not on the machine is named, once.
func TestRestart(t *testing.T) {
	s := settings{
		restart: true, cells: "restart tcp 100 .*", penstock: buildDaemon(t), base: yardstick, out: t.TempDir(),
		plan: Plan{Rounds: 1, Foreign: 1e9}, warmup: 10 * time.Millisecond, window: 4 * time.Second, // a busy machine restarts slowly
	}
	var out, log strings.Builder
	if err := run(t.Context(), s, &out, &log); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	for _, want := range []string{"longest pause ms", "  penstock-exec  1"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	for name, missing := range map[string]string{"penstock-systemd": errNoManager.Error(), proxyName: errNoProxy.Error()} {
		ran, left := strings.Contains(out.String(), "  "+name+"  1"), strings.Count(log.String(), name+" is left out: "+missing)
		if ran == (left == 1) || left > 1 {
			t.Errorf("%s has run: %v; it is left out %d times:\n%s%s", name, ran, left, log.String(), out.String())
		}
	}
}

// TestRestartThatFails: a server that ends instead gets no figure, and the run ends at
// once.
func TestRestartThatFails(t *testing.T) {
	dir := t.TempDir()
	peers, err := build(dir, []string{"evloop"}, false, restarts(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	p := peers[0]
	p.Restart = byExec
	g := Rig{Dir: dir, ServerCPU: -1, LoadCPU: -1, Window: 200 * time.Millisecond}
	_, err = g.measure(t.Context(), p, Cell{load.Restart, "tcp", 10, 64, 1, 0})
	if err == nil || !strings.Contains(err.Error(), "restart evloop") {
		t.Errorf("measure = %v, want an error that names the server", err)
	}
	_, err = g.measure(t.Context(), Peer{Name: "absent", Command: []string{"/nonexistent"}, Restart: byExec}, Cell{load.Restart, "tcp", 10, 64, 1, 0})
	if err == nil || !strings.Contains(err.Error(), "start absent") {
		t.Errorf("measure = %v, want an error that names the server", err)
	}
}
