// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/systemd/sdtest"
)

// activated reports what a program sees that calls Inherit first.
func activated() {
	in, err := Inherit(testStored)
	again, _ := Inherit(testStored)
	for range 2 {
		runtime.GC() // a finalizer would close what it thinks nobody has
	}
	report := map[string]any{
		"closed": !isOpen(3) || !isOpen(4), "polled": polledByRuntime(3) || polledByRuntime(4),
		"in": in, "err": fmt.Sprint(err), "again": again.Activated,
		"env": strings.Contains(strings.Join(os.Environ(), "\n"), "LISTEN_"),
	}
	json.NewEncoder(os.Stdout).Encode(report)
}

func isOpen(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil
}

// polledByRuntime reports whether an epoll instance of this process, of which
// there is only the runtime's, has fd (proc_pid_fdinfo(5)).
func polledByRuntime(fd int) bool {
	infos, _ := filepath.Glob("/proc/self/fdinfo/*")
	for _, info := range infos {
		text, _ := os.ReadFile(info)
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) > 1 && f[0] == "tfd:" && f[1] == strconv.Itoa(fd) {
				return true
			}
		}
	}
	return false
}

// block opens n descriptors in a row, as the service manager does, and returns
// the first. open gets the number to put its descriptor at.
func block(t *testing.T, open ...func(t *testing.T) int) int {
	t.Helper()
	// High numbers, so that nothing else lands in between.
	first := 100
	for i, o := range open {
		fd := o(t)
		if fd < 0 {
			continue // a hole
		}
		if err := unix.Dup3(fd, first+i, 0); err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
		opened := identity(t, first+i)
		t.Cleanup(func() {
			// What is rejected is closed already, and the number may be another's.
			if isOpen(first+i) && identity(t, first+i) == opened {
				unix.Close(first + i)
			}
		})
	}
	return first
}

// identity tells the file behind a descriptor from those that have its number later.
func identity(t *testing.T, fd int) [2]uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	return [2]uint64{uint64(st.Dev), st.Ino}
}

// bound opens a socket of the given kind; listen calls listen(2) as well.
func bound(family, typ int, addr unix.Sockaddr, listen bool) func(*testing.T) int {
	return func(t *testing.T) int {
		t.Helper()
		fd, err := unix.Socket(family, typ, 0)
		if err == nil && addr != nil {
			err = unix.Bind(fd, addr)
		}
		if err == nil && listen {
			err = unix.Listen(fd, 1)
		}
		if err != nil {
			t.Fatal(err)
		}
		return fd
	}
}

func pipeEnd(t *testing.T) int {
	var p [2]int
	if err := unix.Pipe(p[:]); err != nil {
		t.Fatal(err)
	}
	unix.Close(p[1])
	return p[0]
}

func memfd(t *testing.T) int {
	fd, err := unix.MemfdCreate("state", 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func connection(t *testing.T) int {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(pair[1]) })
	return pair[0]
}

func hole(*testing.T) int { return -1 }

// TestInheritLeavesOurOwn: a LISTEN_FDS that is too large must not close what
// the process has opened itself, such as the descriptors of the Go runtime.
func TestInheritLeavesOurOwn(t *testing.T) {
	first := block(t, bound(unix.AF_INET, unix.SOCK_STREAM, &unix.SockaddrInet4{Addr: loopback}, true), pipeEnd)
	unix.CloseOnExec(first + 1)
	in, err := inherit(environ(7, "LISTEN_FDS", "2"), 7, first)
	if err != nil || len(in.Sockets) != 1 || len(in.Rejected) != 1 {
		t.Fatalf("inherit() = %+v, %v", in, err)
	}
	if _, err := unix.FcntlInt(uintptr(first+1), unix.F_GETFD, 0); err != nil {
		t.Errorf("a descriptor of the process itself was closed: %v", err)
	}
	if _, err := inherit(environ(7, "LISTEN_FDS", "1000000000"), 7, first); err == nil {
		t.Error("a thousand million descriptors are believed")
	}
}

var loopback = [4]byte{127, 0, 0, 1}

func environ(pid int, kv ...string) map[string]string {
	env := map[string]string{"LISTEN_PID": strconv.Itoa(pid)}
	for i := 0; i < len(kv); i += 2 {
		env[kv[i]] = kv[i+1]
	}
	return env
}

// TestInheritClassifies gives every kind of descriptor that a socket unit can
// hold. Only listeners for connections are kept; nothing else may stop the
// program, since one wrong unit would take down the services of all others.
func TestInheritClassifies(t *testing.T) {
	path := filepath.Join(sdtest.ShortDir(t), "x.sock")
	abstract := "@penstock-test-" + strconv.Itoa(os.Getpid())
	tests := []struct {
		name   string
		open   func(*testing.T) int
		addr   string // prefix
		reason string // prefix; "" means kept
	}{
		{"IPv4", bound(unix.AF_INET, unix.SOCK_STREAM, &unix.SockaddrInet4{Addr: loopback}, true), "127.0.0.1:", ""},
		{"Unix path", bound(unix.AF_UNIX, unix.SOCK_STREAM, &unix.SockaddrUnix{Name: path}, true), path, ""},
		{"Unix abstract", bound(unix.AF_UNIX, unix.SOCK_STREAM, &unix.SockaddrUnix{Name: abstract}, true), abstract, ""},
		{"Unix seqpacket", bound(unix.AF_UNIX, unix.SOCK_SEQPACKET, &unix.SockaddrUnix{Name: path + "2"}, true), path + "2", ""},
		{"datagram", bound(unix.AF_INET, unix.SOCK_DGRAM, &unix.SockaddrInet4{Addr: loopback}, false), "", "datagram socket"},
		{"bound, not listening", bound(unix.AF_INET, unix.SOCK_STREAM, &unix.SockaddrInet4{Addr: loopback}, false), "", "socket that does not listen"},
		{"a connection, as with Accept=yes", connection, "", "connection: the socket unit must say Accept=no"},
		{"netlink", bound(unix.AF_NETLINK, unix.SOCK_RAW, nil, false), "", "socket of address family 16"},
		{"FIFO", pipeEnd, "", "FIFO"},
		{"memfd", memfd, "", "regular file"},
		{"nothing there", hole, "", "not open"},
	}
	opens := make([]func(*testing.T) int, len(tests))
	names := make([]string, len(tests))
	for i, tt := range tests {
		opens[i], names[i] = tt.open, tt.name
	}
	first := block(t, opens...)
	env := environ(7, "LISTEN_FDS", strconv.Itoa(len(tests)), "LISTEN_FDNAMES", strings.Join(names, ":"))
	in, err := inherit(env, 7, first)
	if err != nil || !in.Activated {
		t.Fatalf("inherit() = %+v, %v", in, err)
	}
	kept, rejected := map[string]Socket{}, map[string]Rejected{}
	for _, s := range in.Sockets {
		kept[s.Name] = s
	}
	for _, r := range in.Rejected {
		rejected[r.Name] = r
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fd := first + i
			s, ok := kept[tt.name]
			if tt.reason == "" {
				if !ok || s.FD != fd || !strings.HasPrefix(s.Addr, tt.addr) {
					t.Fatalf("got %+v (rejected: %+v), want fd %d at %s", s, rejected[tt.name], fd, tt.addr)
				}
				checkFlags(t, fd)
				return
			}
			r := rejected[tt.name]
			if ok || r.FD != fd || !strings.HasPrefix(r.Reason, tt.reason) {
				t.Errorf("got %+v, want fd %d rejected as %q", r, fd, tt.reason)
			}
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != unix.EBADF {
				t.Errorf("fd %d is still open", fd)
			}
		})
	}
}

func checkFlags(t *testing.T, fd int) {
	t.Helper()
	if fl, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || fl&unix.FD_CLOEXEC == 0 {
		t.Errorf("fd %d: not close-on-exec (%v)", fd, err)
	}
	if fl, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || fl&unix.O_NONBLOCK == 0 {
		t.Errorf("fd %d: not non-blocking (%v)", fd, err)
	}
}

// TestInheritIPv6 is apart because a machine may have no IPv6.
func TestInheritIPv6(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM, 0)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet6{Addr: [16]byte{15: 1}})
	}
	if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL) {
		t.Skip("this machine has no IPv6 loopback")
	}
	if err == nil {
		err = unix.Listen(fd, 1)
	}
	if err != nil {
		t.Fatal(err)
	}
	first := block(t, func(*testing.T) int { return fd })
	in, err := inherit(environ(7, "LISTEN_FDS", "1"), 7, first)
	if err != nil || len(in.Sockets) != 1 {
		t.Fatalf("inherit() = %+v, %v", in, err)
	}
	if s := in.Sockets[0]; !strings.HasPrefix(s.Addr, "[::1]:") || s.Name != "unknown" || s.Family != unix.AF_INET6 {
		t.Errorf("got %+v, want [::1], named unknown because LISTEN_FDNAMES is absent", s)
	}
}

// TestAddrText covers what cannot be bound here. The interface stands after
// the port, where systemd wants it.
func TestAddrText(t *testing.T) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	fd := bound(unix.AF_INET, unix.SOCK_STREAM, nil, false)(t)
	defer unix.Close(fd)
	linkLocal := [16]byte{0: 0xfe, 1: 0x80, 15: 1}
	tests := []struct {
		name string
		in   unix.Sockaddr
		want string
	}{
		{"all IPv4", &unix.SockaddrInet4{Port: 80}, "0.0.0.0:80"},
		{"dual stack", &unix.SockaddrInet6{Port: 80}, "[::]:80"},
		{"zone", &unix.SockaddrInet6{Port: 80, Addr: linkLocal, ZoneId: uint32(lo.Index)}, "[fe80::1]:80%lo"},
		{"zone that is gone", &unix.SockaddrInet6{Port: 80, Addr: linkLocal, ZoneId: 1 << 30}, "[fe80::1]:80%1073741824"},
		{"path", &unix.SockaddrUnix{Name: "/run/x.sock"}, "/run/x.sock"},
		{"abstract", &unix.SockaddrUnix{Name: "@x"}, "@x"},
		{"unnamed", &unix.SockaddrUnix{}, ""},
		{"unknown family", nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := addrText(fd, tt.in); got != tt.want {
				t.Errorf("addrText() = %q, want %q", got, tt.want)
			}
		})
	}
}
