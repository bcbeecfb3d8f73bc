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
//	                  0, or an error ─────────────────────────────► done
//	                 ┌┘
//	socket ─► connect ─► EINPROGRESS ─► EPOLLOUT ─► SO_ERROR ─────► done
//	                          │    ▲
//	              on loopback └────┘ EALREADY; with another answer it is done
//
// On loopback the kernel has done both sides of the handshake when connect returns, but
// says EINPROGRESS all the same. A second call tells what has come of it, and spares
// two registrations and a turn of the loop.
//
// The loop sees a descriptor that is being connected as a Watch, and gets it as a
// connection only when it is one. A connection of evloop that is yet to be made would be
// a further state in each of its state machines, and nothing can be read from it,
// written to it or carried to another process.
type dial struct {
	of    *search // whose last address it goes to
	fd    int
	watch *evloop.Watch
}

// startDial begins. It returns the descriptor if it is connected already, or a dial
// that calls dialed of the search later, once, unless it is cancelled. The caller owns the
// descriptor that startDial returns or dialed gets; both have -1 with an error.
func (s *search) startDial(to config.Address) (fd int, d *dial, err error) {
	fd, err = unix.Socket(domain(to), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, nil, os.NewSyscallError("socket", err)
	}
	under, err := connect(fd, to)
	if err == nil && under {
		d = &dial{of: s, fd: fd}
		d.watch, err = s.p.env.Loop.Watch(fd, unix.EPOLLOUT, d)
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

func domain(to config.Address) int {
	switch {
	case to.Network == "unix":
		return unix.AF_UNIX
	case to.AddrPort.Addr().Is4():
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// connect begins to connect fd, and reports whether that is under way.
func connect(fd int, to config.Address) (under bool, err error) {
	if to.Network == "unix" { // EAGAIN: its backlog is full
		return false, os.NewSyscallError("connect", unix.Connect(fd, &unix.SockaddrUnix{Name: to.Path}))
	}
	addr, zone := to.AddrPort.Addr(), uint32(0)
	if addr.Zone() != "" {
		if zone, err = interfaceIndex(fd, addr.Zone()); err != nil {
			return false, err
		}
	}
	raw, size := rawAddr(to.AddrPort, zone)
	errno := connectNow(fd, &raw, size)
	if errno == unix.EINPROGRESS && addr.IsLoopback() {
		errno = connectNow(fd, &raw, size)
	}
	switch errno {
	case 0, unix.EISCONN:
		return false, notItself(fd, to.AddrPort.Port())
	case unix.EINPROGRESS, unix.EALREADY, unix.EINTR: // connect(2): it goes on after a signal
		return true, nil
	}
	return false, os.NewSyscallError("connect", errno)
}

// rawAddr translates an address for the kernel.
func rawAddr(to netip.AddrPort, zone uint32) (raw unix.RawSockaddrInet6, size uintptr) {
	port := func(p *uint16) { binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(p))[:], to.Port()) }
	if to.Addr().Is4() {
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(&raw))
		in.Family, in.Addr = unix.AF_INET, to.Addr().As4()
		port(&in.Port)
		return raw, unix.SizeofSockaddrInet4
	}
	raw.Family, raw.Addr, raw.Scope_id = unix.AF_INET6, to.Addr().As16(), zone
	port(&raw.Port)
	return raw, unix.SizeofSockaddrInet6
}

// connectNow is connect(2) on a socket that does not wait. On loopback the kernel of the
// backend works within the call, which then takes so long that the scheduler would give
// the only processor of a small board to another thread. So it is a raw call.
func connectNow(fd int, at *unix.RawSockaddrInet6, size uintptr) unix.Errno {
	_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(at)), size)
	return errno
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
	err := connected(d.fd, d.of.last.AddrPort.Port())
	if err != nil {
		closeFD(d.fd)
		d.fd = -1
	}
	d.of.dialed(d.fd, err)
}

// cancel ends the attempt. d may be nil.
func (d *dial) cancel() {
	if d != nil {
		d.watch.Close()
		closeFD(d.fd)
	}
}

// connected returns how an attempt has ended that was under way.
func connected(fd int, port uint16) error {
	v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	switch {
	case err != nil:
		return os.NewSyscallError("getsockopt", err)
	case v != 0:
		return os.NewSyscallError("connect", unix.Errno(v))
	}
	return notItself(fd, port)
}

// notItself returns ECONNREFUSED if the other end of fd is fd. Where nobody listens on a
// port of the range that clients get theirs from, the kernel may connect a socket to
// itself: each byte would come back. Both its ends have that port then, so most
// connections need no second question.
func notItself(fd int, port uint16) error {
	here, err := nameOf(fd, unix.SYS_GETSOCKNAME)
	if err != 0 {
		return os.NewSyscallError("getsockname", err)
	}
	if here.Port() != port {
		return nil
	}
	there, err := nameOf(fd, unix.SYS_GETPEERNAME)
	switch {
	case err != 0:
		return os.NewSyscallError("getpeername", err)
	case here == there:
		return os.NewSyscallError("connect", unix.ECONNREFUSED)
	}
	return nil
}

// nameOf asks for one of the addresses of a socket, which is the zero value if that is not
// one of TCP. Package unix would ask for its protocol too.
func nameOf(fd int, call uintptr) (netip.AddrPort, unix.Errno) {
	var raw unix.RawSockaddrInet6
	size := uint32(unsafe.Sizeof(raw))
	_, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&raw)), uintptr(unsafe.Pointer(&size)))
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&raw.Port))[:])
	switch raw.Family {
	case unix.AF_INET:
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(&raw))
		return netip.AddrPortFrom(netip.AddrFrom4(in.Addr), port), errno
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16(raw.Addr), port), errno
	}
	return netip.AddrPort{}, errno // AF_UNSPEC after an error
}
