// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
)

func mustAddress(t testing.TB, s string) config.Address {
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
		path := filepath.Join(dir, "new", "folders", "a.sock")
		mustBind(t, path, conf)
		for _, folder := range []string{"new", "new/folders"} {
			info, err := os.Stat(filepath.Join(dir, folder))
			if err != nil {
				t.Fatal(err)
			}
			if got, want := info.Mode(), fs.ModeDir|0o755; got != want {
				t.Errorf("mode of the folder %s = %v, want %v", folder, got, want)
			}
		}
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

// TestBindAddressToCome: an address that the machine does not have yet, at boot
// for one, can be listened on, as with FreeBind=yes of the generated unit.
func TestBindAddressToCome(t *testing.T) {
	for _, host := range []string{"192.0.2.123", "2001:db8::123"} {
		addr := netip.AddrPortFrom(netip.MustParseAddr(host), 0)
		fd, err := bind(config.Address{Text: addr.String(), Network: "tcp", AddrPort: addr}, &config.Service{Backlog: 5})
		if errors.Is(err, unix.EAFNOSUPPORT) {
			continue
		}
		if err != nil {
			t.Errorf("bind %s: %v", addr, err)
			continue
		}
		_ = unix.Close(fd)
	}
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

// A port without an address takes IPv4 clients whatever the machine's default
// for IPv6 sockets is. The default belongs to a network namespace, so the test
// makes one on a thread of its own, which ends with the goroutine.
func TestBindBothFamilies(t *testing.T) {
	skip := make(chan error, 1)
	only := make(chan map[string]int, 1)
	go func() {
		runtime.LockOSThread()
		defer close(only)
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			skip <- err
			return
		}
		if err := os.WriteFile("/proc/sys/net/ipv6/bindv6only", []byte("1"), 0); err != nil {
			skip <- err
			return
		}
		got := map[string]int{}
		for _, addr := range []string{"7000", "[::]:7001"} {
			fd, err := bind(mustAddress(t, addr), &config.Service{Backlog: 5})
			if err != nil {
				got[addr] = -1
				continue
			}
			got[addr], _ = unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
			_ = unix.Close(fd)
		}
		only <- got
	}()
	got, ok := <-only
	if !ok {
		t.Skip("no network namespace of one's own: ", <-skip)
	}
	for addr, v := range got {
		if v != 0 {
			t.Errorf("%s: IPV6_V6ONLY = %d, want 0", addr, v)
		}
	}
}
