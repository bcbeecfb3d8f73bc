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

// TestScript runs testdata/script/*.txtar. The commands that talk to daemons
// are in script_test.go.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               newWorld,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"port": freePort, "expand": expand, "listen": listen, "start": start, "await": await, "signal": signalProc, "pid": pid,
			"exited": exited, "notified": notified,
			"dial": dial, "send": send, "flood": flood, "stuff": stuff, "recv": recv, "eof": eof, "refused": refused, "hangup": hangup, "shut": shut,
		},
	})
}
