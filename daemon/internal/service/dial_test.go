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

// The address of a backend reaches the kernel whole, in each family.
func TestConnectNow(t *testing.T) {
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		ln, err := net.Listen("tcp", at)
		if err != nil {
			t.Logf("not here: %v", err)
			continue
		}
		defer ln.Close()
		to := config.Address{Network: "tcp", AddrPort: netip.MustParseAddrPort(ln.Addr().String())}
		sa, domain := sockaddr(to)
		fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if err := connectNow(fd, sa); err != nil {
			t.Errorf("%v: %v", to.AddrPort, err)
			continue
		}
		there, err := unix.Getpeername(fd)
		if got := addrPort(there); err != nil || got != to.AddrPort {
			t.Errorf("connected to %v (%v), want %v", got, err, to.AddrPort)
		}
	}
}
