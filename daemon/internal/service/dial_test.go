// SPDX-License-Identifier: Apache-2.0

package service

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
)

// A socket that the kernel has connected to itself has reached nobody, and one that has
// somebody else's port at its other end has.
func TestConnectedToItself(t *testing.T) {
	bound := func() (int, *unix.SockaddrInet4) {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			t.Fatal(err)
		}
		sa, err := unix.Getsockname(fd)
		if err != nil {
			t.Fatal(err)
		}
		return fd, sa.(*unix.SockaddrInet4)
	}
	fd, at := bound()
	if err := unix.Connect(fd, at); err != nil {
		t.Fatal(err)
	}
	if err := connected(fd, uint16(at.Port)); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("connected to itself: %v, want %v", err, unix.ECONNREFUSED)
	}
	listener, there := bound()
	if err := unix.Listen(listener, 1); err != nil {
		t.Fatal(err)
	}
	other, _ := bound()
	if err := unix.Connect(other, there); err != nil {
		t.Fatal(err)
	}
	if err := connected(other, uint16(there.Port)); err != nil {
		t.Errorf("connected to a listener: %v", err)
	}
}

// The address of a backend reaches the kernel whole, in each family, and one that nobody
// listens on is refused. Both are known at once, or when the socket can be written to.
func TestConnect(t *testing.T) {
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		ln, err := net.Listen("tcp", at)
		if err != nil {
			t.Logf("not here: %v", err)
			continue
		}
		to := config.Address{Network: "tcp", AddrPort: netip.MustParseAddrPort(ln.Addr().String())}
		fd, err := connectTo(t, to)
		if err != nil {
			t.Errorf("%v: %v", to.AddrPort, err)
			continue
		}
		if got, errno := nameOf(fd, unix.SYS_GETPEERNAME); errno != 0 || got != to.AddrPort {
			t.Errorf("connected to %v (%v), want %v", got, errno, to.AddrPort)
		}
		ln.Close()
		if _, err := connectTo(t, to); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("%v, closed: %v, want %v", to.AddrPort, err, unix.ECONNREFUSED)
		}
	}
}

func connectTo(t *testing.T, to config.Address) (fd int, err error) {
	t.Helper()
	fd, err = unix.Socket(domain(to), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	under, err := connect(fd, to)
	if under {
		polled := error(unix.EINTR)
		for polled == unix.EINTR {
			_, polled = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, -1)
		}
		if polled != nil {
			t.Fatal(polled)
		}
		err = connected(fd, to.AddrPort.Port())
	}
	return fd, err
}
