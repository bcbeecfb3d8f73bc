// SPDX-License-Identifier: Apache-2.0

package evlooptest

import (
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Pair returns a connection: a descriptor for Loop.Add, and its other end for
// the test. network is "unix", "unixpacket" (whole messages) or "tcp" (over
// loopback).
//
// fd is the caller's until Loop.Add takes it. The peer is a *net.UnixConn or a
// *net.TCPConn. It is closed with the test, and gives up after Patience.
func Pair(t testing.TB, network string) (fd int, peer net.Conn) {
	t.Helper()
	var theirs int
	var err error
	switch network {
	case "unix":
		fd, theirs, err = unixPair(unix.SOCK_STREAM)
	case "unixpacket":
		fd, theirs, err = unixPair(unix.SOCK_SEQPACKET)
	case "tcp":
		fd, theirs, err = tcpPair()
	default:
		err = net.UnknownNetworkError(network)
	}
	if err != nil {
		t.Fatalf("connect a pair: %v", err)
	}
	// FileConn has a descriptor of its own.
	f := os.NewFile(uintptr(theirs), "peer")
	defer f.Close()
	if peer, err = net.FileConn(f); err == nil {
		t.Cleanup(func() { peer.Close() })
		err = peer.SetDeadline(time.Now().Add(Patience))
	}
	if err != nil {
		unix.Close(fd)
		t.Fatalf("connect a pair: %v", err)
	}
	return fd, peer
}

func unixPair(typ int) (ours, theirs int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, typ|unix.SOCK_CLOEXEC, 0)
	return fds[0], fds[1], os.NewSyscallError("socketpair", err)
}

func tcpPair() (ours, theirs int, err error) {
	ln, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, -1, os.NewSyscallError("socket", err)
	}
	defer unix.Close(ln)
	if err := unix.Bind(ln, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return -1, -1, os.NewSyscallError("bind", err)
	}
	if err := unix.Listen(ln, 1); err != nil {
		return -1, -1, os.NewSyscallError("listen", err)
	}
	to, err := unix.Getsockname(ln)
	if err != nil {
		return -1, -1, os.NewSyscallError("getsockname", err)
	}
	theirs, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, -1, os.NewSyscallError("socket", err)
	}
	if err = unix.Connect(theirs, to); err != nil {
		err = fmt.Errorf("over loopback: %w", os.NewSyscallError("connect", err))
	} else if ours, _, err = unix.Accept4(ln, unix.SOCK_CLOEXEC); err != nil {
		err = os.NewSyscallError("accept4", err)
	}
	if err != nil {
		unix.Close(theirs)
		return -1, -1, err
	}
	return ours, theirs, nil
}
