// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestOrphansOfPID1: as PID 1 of a container the daemon buries processes that
// the program of a handler has started and left alone.
func TestOrphansOfPID1(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "penstock.toml")
	// The pipe ends with the last of those that have it open.
	config := fmt.Sprintf("[service.x]\nkind='handler'\nlisten=['%s/s']\ncommand=['/bin/sh', '-c', '%s']\n", dir,
		"for i in 1 2 3 4 5 6 7 8 9; do (true & sleep 0.1 &); done | cat >&2; echo spawned >&2; exec cat")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &proc{cmd: exec.Command("penstock", "run", "-c", file), out: newTranscript(), done: make(chan struct{})}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	if os.Geteuid() != 0 {
		p.cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER // in which every user may have the other one
	}
	if err := p.run(); err != nil {
		t.Skip("this user may have no namespace of processes:", err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
	})
	if !p.out.await(regexp.MustCompile("program wrote .*spawned")) {
		t.Fatalf("the program does not run:\n%v", p.out)
	}
	var zombies []string // nobody outside is told when one is gone, so they are looked for again and again
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if zombies = zombiesOf(p.cmd.Process.Pid); len(zombies) == 0 {
			return
		}
	}
	t.Errorf("%d zombies stay: %v", len(zombies), zombies)
}

// zombiesOf lists the children of a process that have ended and that it has
// not waited for.
func zombiesOf(parent int) (out []string) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		text, _ := os.ReadFile(name)
		_, rest, _ := strings.Cut(string(text), ") ")
		if strings.HasPrefix(rest, fmt.Sprintf("Z %d ", parent)) {
			out = append(out, name)
		}
	}
	return out
}
