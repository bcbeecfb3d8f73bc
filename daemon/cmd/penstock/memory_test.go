// SPDX-License-Identifier: Apache-2.0

//go:build !race

package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What a whole process holds, as the kernel counts it. Not under the race
// detector, whose shadow of the memory is larger than the memory.

// status returns a field of /proc/PID/status in bytes (proc_pid_status(5)).
func (p *proc) status(t *testing.T, field string) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + field + `:\s+(\d+) kB$`).FindSubmatch(text)
	if m == nil {
		t.Fatalf("no %s in\n%s", field, text)
	}
	kib, _ := strconv.Atoi(string(m[1]))
	return kib << 10
}

// TestIdleConnectionMemory: a connection that has had its answer and waits
// holds no buffer, and less than a kibibyte in all. The first hundred pay for
// what is there once, and 460 bytes each are usual.
func TestIdleConnectionMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	p := serve(t, fmt.Sprintf("[limits]\nper_source=0\n[service.echo]\nkind='echo'\nlisten=['%s']\n", path))
	const conns = 1000
	chat(t, path, 100)
	before := p.status(t, "RssAnon")
	chat(t, path, conns)
	each := (p.status(t, "RssAnon") - before) / conns
	t.Logf("%d bytes for each of %d idle connections", each, conns)
	if each > 1<<10 {
		t.Errorf("%d bytes for an idle connection, want 1024 at most", each)
	}
}

// TestMemoryCeiling: clients that do not read could together have hundreds of
// times what limits.memory allows, each within its own queue. The peak of the
// whole process stays below the limit and what the manual adds to it.
func TestMemoryCeiling(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	const limit, manual, clients = 1 << 20, 24<<20 + 1000<<10, 300
	p := serve(t, fmt.Sprintf("[limits]\nconnections=1000\nper_source=0\nmemory=%d\n[service.echo]\nkind='echo'\nqueue='1MiB'\nlisten=['%s']\n", limit, path))
	text := make([]byte, 1<<20)
	for range clients {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		// Nobody reads the reply: the server takes it all, stops reading, or
		// cuts this client or another.
		if err := c.SetWriteDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write(text)
	}
	if !p.out.await(regexp.MustCompile("connection cut .*reason=memory")) {
		t.Fatalf("nobody was cut for limits.memory:\n%v", p.out)
	}
	peak := p.status(t, "VmHWM")
	t.Logf("peak of %d KiB", peak>>10)
	if peak > limit+manual {
		t.Errorf("peak of %d bytes, want %d at most", peak, limit+manual)
	}
}

// TestReloadGivesBack: a table of answers that a reload has replaced is given back soon,
// and not when the runtime next collects garbage by itself, two minutes later.
func TestReloadGivesBack(t *testing.T) {
	dir := t.TempDir()
	var answers strings.Builder
	for i := range 50000 {
		fmt.Fprintf(&answers, "\"What is the value of point %d?\" = \"The value of point %d is %d degrees.\\n\"\n", i, i, i%37)
	}
	if err := os.WriteFile(filepath.Join(dir, "answers.toml"), []byte(answers.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	p := serve(t, fmt.Sprintf("[service.a]\nkind='lookup'\nlisten=['%s/s']\nfile='%s/answers.toml'\n", dir, dir))
	first := p.settles(t, p.status(t, "VmHWM")*3/4)
	if err := p.cmd.Process.Signal(unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if !p.out.await(regexp.MustCompile("configuration applied")) {
		t.Fatalf("not reloaded:\n%v", p.out)
	}
	// The replaced table would be most of what it had at first.
	second := p.settles(t, first*4/3)
	t.Logf("%d KiB at first, %d after a reload, with a peak of %d", first>>10, second>>10, p.status(t, "VmHWM")>>10)
}

// settles waits until the process has less resident than below, and returns what it has.
func (p *proc) settles(t *testing.T, below int) int {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		now := p.status(t, "VmRSS")
		if now < below {
			return now
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d KiB after a minute, want less than %d", now>>10, below>>10)
		}
	}
}
