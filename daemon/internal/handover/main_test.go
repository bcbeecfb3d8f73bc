// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/evloop/evlooptest"
)

// childKey names the environment variable that makes the test binary one of children.
const childKey = "PENSTOCK_HANDOVER_CHILD"

// children are what is tried in a process of its own: it dies, or has other limits. What
// a child returns it writes to its standard output. Descriptor 3 is what the test gives it.
var children = map[string]func() any{
	"peek and die": peekAndDie,
	"fill and die": fillAndDie,
	"low limit":    peekAtLowLimit,
	"no number":    peekWithoutNumber,
	"many refs":    fillAtLowLimit,
	"raise":        raiseInChild,
	"go runtime":   raiseBesideRuntime,
}

func TestMain(m *testing.M) {
	if child, ok := children[os.Getenv(childKey)]; ok {
		if err := json.NewEncoder(os.Stdout).Encode(child()); err != nil {
			panic(err)
		}
		os.Exit(0)
	}
	os.Exit(evlooptest.Main(m))
}

// runChild runs a child with fd as its descriptor 3, or -1, and stores its answer in to.
func runChild(t *testing.T, name string, fd int, to any, env ...string) {
	t.Helper()
	answer, err := startChild(t, name, fd, env)
	if err != nil {
		t.Fatalf("child %q: %v", name, err)
	}
	if err := json.Unmarshal(answer, to); err != nil {
		t.Fatalf("child %q says %q: %v", name, answer, err)
	}
}

// killChild runs a child that has to kill itself, and returns what it wrote before.
func killChild(t *testing.T, name string, fd int) string {
	t.Helper()
	answer, err := startChild(t, name, fd, nil)
	exit, ok := err.(*exec.ExitError)
	if !ok || exit.Sys().(syscall.WaitStatus).Signal() != unix.SIGKILL {
		t.Fatalf("child %q: %v, want killed", name, err)
	}
	return string(answer)
}

func startChild(t *testing.T, name string, fd int, env []string) ([]byte, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	if i := slices.IndexFunc(env, func(s string) bool { return strings.HasPrefix(s, "ULIMIT=") }); i >= 0 {
		cmd = exec.CommandContext(t.Context(), "/bin/sh", "-c", env[i][len("ULIMIT="):]+`; exec "$0"`, os.Args[0])
	}
	cmd.Env = append(os.Environ(), append(env, childKey+"="+name)...)
	cmd.Stderr = os.Stderr
	if fd >= 0 {
		own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(own), "queue")
		defer f.Close()
		cmd.ExtraFiles = []*os.File{f}
	}
	return cmd.Output()
}

func die() any {
	must(unix.Kill(os.Getpid(), unix.SIGKILL))
	select {}
}

// must is for children, whose panics a test shows.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

func get[T any](v T, err error) T {
	must(err)
	return v
}

func setLimit(soft, hard uint64) {
	must(unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: soft, Max: hard}))
}

func softLimit() uint64 {
	var r unix.Rlimit
	must(unix.Getrlimit(unix.RLIMIT_NOFILE, &r))
	return r.Cur
}
