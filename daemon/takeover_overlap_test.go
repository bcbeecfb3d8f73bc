// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/evloop/evlooptest"
)

// heldPort returns a port that nobody else is given, because this process holds it
// without listening. With SO_REUSEADDR, as the daemon has it, it can be listened on.
func heldPort(t *testing.T) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		t.Cleanup(func() { unix.Close(fd) })
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{})
	}
	if err != nil {
		t.Fatal(err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return at.(*unix.SockaddrInet4).Port
}

// askAt is ask by TCP.
func askAt(t *testing.T, network, addr, text string) (string, error) {
	t.Helper()
	c, err := net.Dial(network, addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(evlooptest.Patience))
	if _, err := io.WriteString(c, text); err != nil {
		return "", err
	}
	b := make([]byte, len(text))
	_, err = io.ReadFull(c, b)
	return string(b), err
}

// TestRestartWithOverlappingAddress: an address that could not be opened beside one of
// the former process is open after the restart, in either direction.
func TestRestartWithOverlappingAddress(t *testing.T) {
	dir, link := t.TempDir(), t.TempDir()+"/link"
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	port := heldPort(t)
	one, all := fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("0.0.0.0:%d", port)
	for _, tt := range []struct{ name, former, now, network, ask string }{
		{"to all addresses", one, all, "tcp", one},
		{"to one address", all, one, "tcp", one},
		{"to both families", one, fmt.Sprintf("[::]:%d", port), "tcp", one},
		{"to another name of the file", dir + "/s", link + "/s", "unix", dir + "/s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := "[service.e]\nkind = 'echo'\nlisten = ['%s']\n"
			r, _ := runRestartable(t, parse(t, fmt.Sprintf(text, tt.former)))
			if got, err := askAt(t, tt.network, tt.ask, "old"); got != "old" || err != nil {
				t.Fatalf("the former process answered %q, %v", got, err)
			}
			r, out := r.restart(t, parse(t, fmt.Sprintf(text, tt.now)))
			if got, err := askAt(t, tt.network, tt.ask, "new"); got != "new" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
			r.stop(t)
			if s := out.String(); strings.Contains(s, "listener failed") || strings.Contains(s, "listener missing") {
				t.Errorf("the log complains:\n%s", s)
			}
		})
	}
}

// TestRestartWithAnAddressInUse: what another program has stays closed, which the log
// says once with a hint that helps, and all else is served.
func TestRestartWithAnAddressInUse(t *testing.T) {
	path := t.TempDir() + "/s"
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	text := "[service.e]\nkind = 'echo'\nlisten = ['%s']\n"
	r, _ := runRestartable(t, parse(t, fmt.Sprintf(text, path)))
	r, out := r.restart(t, parse(t, fmt.Sprintf(text, path+"', '"+other.Addr().String())))
	if got, err := ask(path, "x"); got != "x" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	r.stop(t)
	if n := strings.Count(out.String(), "listener failed"); n != 1 {
		t.Errorf("%d times in the log", n)
	}
	wantLine(t, out, "listener missing", "SIGHUP")
}
