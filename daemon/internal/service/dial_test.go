// SPDX-License-Identifier: Apache-2.0

package service

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
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
