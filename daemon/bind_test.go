// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
)

func mustAddress(t *testing.T, s string) config.Address {
	t.Helper()
	a, err := config.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// mustBind binds a Unix socket and closes the descriptor at the end of the test.
func mustBind(t *testing.T, path string, s *config.Service) int {
	t.Helper()
	fd, err := bind(mustAddress(t, path), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

func TestBindUnix(t *testing.T) {
	dir := t.TempDir()
	conf := &config.Service{Backlog: 5, SocketMode: 0o666}

	t.Run("exact mode whatever the umask, missing folder made", func(t *testing.T) {
		old := unix.Umask(0o077)
		defer unix.Umask(old)
		path := filepath.Join(dir, "new", "a.sock")
		mustBind(t, path, conf)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := info.Mode(), fs.ModeSocket|0o666; got != want {
			t.Errorf("mode = %v, want %v", got, want)
		}
	})
	t.Run("a left-over socket is replaced", func(t *testing.T) {
		path := filepath.Join(dir, "stale.sock")
		fd, err := bind(mustAddress(t, path), conf)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Close(fd); err != nil {
			t.Fatal(err)
		}
		mustBind(t, path, conf)
	})
	t.Run("a served socket is left alone", func(t *testing.T) {
		path := filepath.Join(dir, "served.sock")
		mustBind(t, path, conf)
		if _, err := bind(mustAddress(t, path), conf); !errors.Is(err, errInUse) {
			t.Errorf("second bind: %v, want %v", err, errInUse)
		}
	})
	t.Run("a file is left alone", func(t *testing.T) {
		path := filepath.Join(dir, "data")
		if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := bind(mustAddress(t, path), conf); err == nil || !strings.Contains(err.Error(), "not a socket") {
			t.Errorf("bind over a file: %v", err)
		}
		if got, _ := os.ReadFile(path); string(got) != "precious" {
			t.Errorf("the file now holds %q", got)
		}
	})
	t.Run("unknown owner", func(t *testing.T) {
		s := &config.Service{SocketMode: 0o600, SocketGroup: "no-such-group"}
		path := filepath.Join(dir, "owner.sock")
		if _, err := bind(mustAddress(t, path), s); err == nil || !strings.Contains(err.Error(), "socket_group") {
			t.Errorf("bind: %v, want a complaint about socket_group", err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a socket was left behind: %v", err)
		}
	})
}

// TestSocketFileRemove: at exit only the file that this process bound goes,
// not the one a successor has put in its place.
func TestSocketFileRemove(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.sock")
	conf := &config.Service{SocketMode: 0o600}
	mustBind(t, path, conf)
	file, err := newSocketFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	mustBind(t, path, conf)
	file.remove()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the successor's socket is gone: %v", err)
	}
	file.path += ".old"
	file.remove()
	if _, err := os.Lstat(file.path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the process's own socket is still there: %v", err)
	}
}

func TestBindTCP(t *testing.T) {
	fd, err := bind(config.Address{Network: "tcp", AddrPort: mustAddress(t, "127.0.0.1:1").AddrPort, Text: "127.0.0.1:1"},
		&config.Service{BindDevice: "no-such-device0"})
	if err == nil {
		_ = unix.Close(fd)
		t.Fatal("bound to a device that does not exist")
	}
	if !strings.Contains(err.Error(), "bind_device no-such-device0") {
		t.Errorf("bind: %v, want a complaint about bind_device", err)
	}
	if _, err := bind(mustAddress(t, "[fe80::1]:7000%nosuchif0"), &config.Service{}); err == nil ||
		!strings.Contains(err.Error(), "interface nosuchif0") {
		t.Errorf("bind: %v, want a complaint about the interface", err)
	}
}
