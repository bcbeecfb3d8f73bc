// SPDX-License-Identifier: Apache-2.0

package faulttest

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/systemd/sdtest"
)

var (
	binary   = flag.String("penstock", "", "the binary to test; without it every test is skipped")
	duration = flag.Duration("time", 0, "for how long to inject errors, one for each call and then in a random order; 0: every error once")
	order    = flag.Uint64("order", 0, "seed of that order; 0: a new one")
)

// patience is for what should take milliseconds: a busy machine is not a hang.
const patience = 20 * time.Second

// until looks at the state of another process, of which nobody tells, until cond
// holds. It reports false when patience is over.
func until(cond func() bool) bool {
	for end := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// childEnv makes the test binary what systemd is between fork and exec; see
// becomeDaemon. Its value is the names of the sockets.
const childEnv = "FAULTTEST_SOCKETS"

func TestMain(m *testing.M) {
	if names, ok := os.LookupEnv(childEnv); ok {
		fmt.Fprintln(os.Stderr, becomeDaemon(strings.Split(names, ":")))
		os.Exit(127)
	}
	if window, ok := os.LookupEnv(probeEnv); ok {
		d, err := time.ParseDuration(window)
		if err == nil {
			err = runProbe(d, os.Args[1:])
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "probe:", err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	os.Exit(m.Run())
}

// becomeDaemon executes the arguments, with the sockets that were passed.
func becomeDaemon(names []string) error {
	os.Unsetenv(childEnv)
	runtime.LockOSThread() // some of the surroundings are the thread's
	if err := place(); err != nil {
		return err
	}
	path, err := exec.LookPath(os.Args[1])
	if err != nil {
		return err
	}
	if names[0] == "" { // started by hand
		return unix.Exec(path, os.Args[1:], os.Environ())
	}
	return sdtest.Exec(path, os.Args[2:], len(names), names...)
}

// need skips the test where it cannot run.
func need(t *testing.T, commands ...string) {
	t.Helper()
	if *binary == "" {
		t.Skip("no -penstock; use make fault-test")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for _, c := range commands {
		if _, err := exec.LookPath(c); err != nil {
			t.Skip(err)
		}
	}
}

// forBackends runs a test for each back end, at the same time: they mostly
// wait.
func forBackends(t *testing.T, run func(t *testing.T, backend string)) {
	for _, backend := range []string{"epoll", "io_uring"} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			run(t, backend)
		})
	}
}
