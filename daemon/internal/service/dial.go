// SPDX-License-Identifier: Apache-2.0

package service

import (
	"encoding/binary"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/evloop"
)

// A dial is one attempt to connect to an address, without waiting:
//
//	socket ─► connect ─┬─► 0, or an error ────────────────────────► done
//	                   └─► EINPROGRESS ─► EPOLLOUT ─► SO_ERROR ───► done
//
// The loop sees a descriptor that is being connected as a Watch, and gets it as a
// connection only when it is one. A connection of evloop that is yet to be made would be
// a further state in each of its state machines, and nothing can be read from it,
// written to it or carried to another process.
type dial struct {
	fd    int
	port  uint16 // that it goes to
	watch *evloop.Watch
	done  func(fd int, err error)
}

// startDial begins. It returns the descriptor if it is connected already, or a dial
// that calls done later, once, unless it is cancelled. The caller owns the descriptor that
// startDial returns or done gets; both have -1 with an error.
func startDial(l *evloop.Loop, to config.Address, done func(fd int, err error)) (fd int, d *dial, err error) {
	sa, domain := sockaddr(to)
	fd, err = unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, nil, os.NewSyscallError("socket", err)
	}
	under, err := connect(fd, sa, to.AddrPort)
	if err == nil && under {
		d = &dial{fd: fd, port: to.AddrPort.Port(), done: done}
		d.watch, err = l.Watch(fd, unix.EPOLLOUT, d)
	}
	switch {
	case err != nil:
		closeFD(fd)
		return -1, nil, err
	case under:
		return -1, d, nil
	}
	return fd, nil, nil
}

// connect begins to connect fd, and reports whether that is under way.
func connect(fd int, sa unix.Sockaddr, to netip.AddrPort) (under bool, err error) {
	if in, ok := sa.(*unix.SockaddrInet6); ok && to.Addr().Zone() != "" {
		if in.ZoneId, err = interfaceIndex(fd, to.Addr().Zone()); err != nil {
			return false, err
		}
	}
	switch err := connectNow(fd, sa); err {
	case nil:
		return false, connected(fd, to.Port())
	case unix.EINPROGRESS, unix.EINTR: // connect(2): it goes on after a signal
		return true, nil
	default: // EAGAIN: the backlog of a Unix socket is full
		return false, os.NewSyscallError("connect", err)
	}
}

// connectNow is connect(2) on a socket that does not wait. On loopback the kernel of the
// backend works within the call, which then takes so long that the scheduler would give
// the only processor of a small board to another thread. So for TCP it is a raw call.
func connectNow(fd int, sa unix.Sockaddr) error {
	at, size := unsafe.Pointer(nil), uintptr(0)
	port := func(p *uint16, n int) { binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(p))[:], uint16(n)) }
	switch in := sa.(type) {
	case *unix.SockaddrInet4:
		raw := unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: in.Addr}
		port(&raw.Port, in.Port)
		at, size = unsafe.Pointer(&raw), unix.SizeofSockaddrInet4
	case *unix.SockaddrInet6:
		raw := unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: in.Addr, Scope_id: in.ZoneId}
		port(&raw.Port, in.Port)
		at, size = unsafe.Pointer(&raw), unix.SizeofSockaddrInet6
	default:
		return unix.Connect(fd, sa)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(at), size); errno != 0 {
		return errno
	}
	return nil
}

// interfaceIndex asks by ioctl, because the sandbox forbids the netlink socket that
// package net would use.
func interfaceIndex(fd int, name string) (uint32, error) {
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, ifr)
	}
	if err != nil {
		return 0, os.NewSyscallError("ioctl", err)
	}
	return ifr.Uint32(), nil
}

// Ready is called when the kernel knows how the attempt has ended.
func (d *dial) Ready(*evloop.Watch, uint32) {
	d.watch.Close()
	err := connected(d.fd, d.port)
	if err != nil {
		closeFD(d.fd)
		d.fd = -1
	}
	d.done(d.fd, err)
}

// cancel ends the attempt. d may be nil.
func (d *dial) cancel() {
	if d != nil {
		d.watch.Close()
		closeFD(d.fd)
	}
}

// connected returns how an attempt has ended. Where nobody listens on a port of the
// range that clients get theirs from, the kernel may connect a socket to itself: each
// byte would come back. Both its ends have that port then, so most connections need no
// second question.
func connected(fd int, port uint16) error {
	v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	switch {
	case err != nil:
		return os.NewSyscallError("getsockopt", err)
	case v != 0:
		return os.NewSyscallError("connect", unix.Errno(v))
	}
	here, err := unix.Getsockname(fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	a := addrPort(here)
	if !a.IsValid() || a.Port() != port {
		return nil
	}
	there, err := unix.Getpeername(fd)
	if err != nil {
		return os.NewSyscallError("getpeername", err)
	}
	if a == addrPort(there) {
		return os.NewSyscallError("connect", unix.ECONNREFUSED)
	}
	return nil
}

// sockaddr translates an address for the kernel, but for the interface of a link-local
// one.
func sockaddr(to config.Address) (sa unix.Sockaddr, domain int) {
	addr, port := to.AddrPort.Addr(), int(to.AddrPort.Port())
	switch {
	case to.Network == "unix":
		return &unix.SockaddrUnix{Name: to.Path}, unix.AF_UNIX
	case addr.Is4():
		return &unix.SockaddrInet4{Port: port, Addr: addr.As4()}, unix.AF_INET
	}
	return &unix.SockaddrInet6{Port: port, Addr: addr.As16()}, unix.AF_INET6
}
