// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/systemd/sdtest"
)

// The test binary plays three processes: the test, a shim that sets LISTEN_PID
// to its own number and executes, and the activated program.
func TestMain(m *testing.M) {
	switch os.Getenv("SYSTEMD_TEST_ROLE") {
	case "shim":
		os.Setenv("SYSTEMD_TEST_ROLE", "activated")
		fmt.Fprintln(os.Stderr, sdtest.Exec("/proc/self/exe", nil, 3, "tcp", "chat", "pipe"))
		os.Exit(1)
	case "activated":
		activated()
	case "stderr":
		logToStderr()
	default:
		os.Exit(m.Run())
	}
}

// childEnv is the environment of a child. The race detector holds each process
// for a second at its end, unless told not to.
func childEnv() []string { return append(os.Environ(), "GORACE=atexit_sleep_ms=0") }

// skipEmulated skips the rest of a test that has to start a process, where the
// tests run for another CPU under an emulator that the kernel knows nothing
// of: only the native run can start its own binary then.
func skipEmulated(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, unix.ENOEXEC) {
		t.Skip("an emulated process cannot start itself here")
	}
}

// shortDir is t.TempDir with a name that leaves room in sun_path, which ends
// at 108 bytes.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
