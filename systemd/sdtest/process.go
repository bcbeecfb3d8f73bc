// SPDX-License-Identifier: Apache-2.0

package sdtest

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Environ is the environment for a child process of a test. The race detector
// holds each process for a second at its end, unless told not to.
func Environ() []string { return append(os.Environ(), "GORACE=atexit_sleep_ms=0") }

// SkipEmulated skips the rest of a test that could not start its own binary:
// err says that the kernel does not know its format. That happens where tests
// for another CPU run under an emulator that is not registered with the kernel.
func SkipEmulated(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, unix.ENOEXEC) {
		t.Skip("an emulated process cannot start itself here")
	}
}

// ShortDir is t.TempDir with a name that leaves room in sun_path, which ends
// at 108 bytes (unix(7)).
func ShortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
