// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
)

// TestRefusal: a target that answers, and those that do not, each with its reason.
func TestRefusal(t *testing.T) {
	dir := t.TempDir()
	unixAt := func(name string) config.Address {
		return config.Address{Network: "unix", Path: filepath.Join(dir, name)}
	}
	// bound opens a socket at an address. Without a backlog nobody listens.
	bound := func(to config.Address, backlog int) int {
		sa, family, err := sockaddr(to)
		if err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Close(fd) })
		if err := unix.Bind(fd, sa); err != nil {
			t.Fatal(err)
		}
		if backlog >= 0 {
			if err := unix.Listen(fd, backlog); err != nil {
				t.Fatal(err)
			}
		}
		return fd
	}
	bound(unixAt("answers"), 8)
	bound(unixAt("deaf"), -1)
	bound(unixAt("full"), 0)
	if err := Refusal(unixAt("full"), time.Minute); err != nil { // takes the one place
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"answers": "",
		"missing": "connect: no such file or directory",
		"deaf":    "connect: connection refused",
		"full":    "connect: no answer in 50ms",
	} {
		err, got := Refusal(unixAt(name), 50*time.Millisecond), ""
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, want) || (want == "") != (err == nil) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}
