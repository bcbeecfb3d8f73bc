// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"penstock/evloop"
	"penstock/systemd"
)

// TestMain lets the test binary be penstock itself, so that scripts run whole
// processes without a build step.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"penstock":           rooted,
		"penstock-generator": rooted,
		"activated":          activated,
	})
}

// rooted is main, but for a folder that stands for / where a script sets ROOT.
func rooted() {
	inherited, err := systemd.Inherit()
	p := process{os.Stdout, os.Stderr, inherited, err, cmp.Or(os.Getenv("ROOT"), "/")}
	os.Exit(p.start(os.Args))
}

// activated does what systemd does between fork and exec: only the process
// itself knows its number. It then becomes penstock.
func activated() {
	os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	path, err := exec.LookPath("penstock")
	if err == nil {
		err = unix.Exec(path, append([]string{"penstock"}, os.Args[1:]...), os.Environ())
	}
	fmt.Fprintln(os.Stderr, "activated:", err)
	os.Exit(127)
}

// condition is [io_uring], that the kernel lets this process use it, or [root].
func condition(cond string) (bool, error) {
	switch cond {
	case "io_uring":
		return evloop.ProbeIOUring() == nil, nil
	case "root":
		return os.Geteuid() == 0, nil
	}
	return false, fmt.Errorf("unknown condition %q", cond)
}

// TestScript runs testdata/script/*.txtar, once for each back end of the loop.
// The commands that talk to daemons are in script_test.go. With -short, which the race
// detector is run with, there is one back end: goroutines meet the loop behind both in
// the same code, and the tests of package evloop run under either.
func TestScript(t *testing.T) {
	backends := []string{"epoll", "io_uring"}
	if testing.Short() {
		backends = backends[:1]
	}
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			if err := evloop.ProbeIOUring(); backend == "io_uring" && err != nil {
				t.Skipf("this kernel refuses: %v", err)
			}
			runScripts(t, backend)
		})
	}
}

func runScripts(t *testing.T, backend string) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               func(env *testscript.Env) error { return newWorld(env, backend) },
		Condition:           condition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"port": freePort, "expand": expand, "listen": listenAt, "start": start, "await": await, "signal": signalProc, "nofile": nofile, "pid": pid,
			"exited": exited, "lease": lease, "wanted": wanted, "release": release, "exchange": exchange, "notified": notified,
			"dial": dial, "send": send, "flood": flood, "stuff": stuff, "recv": recv, "eof": eof, "refused": refused, "hangup": hangup, "shut": shut,
		},
	})
}
