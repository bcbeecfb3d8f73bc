// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"encoding/binary"
	"net/netip"
	"os"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"penstock/evloop/internal/uring"
)

// kernel is the seam between a loop and the system: every call that the loop
// and its back end make while they serve goes through one of these methods,
// except io_uring_enter, whose seam is in package uring. sim is nil in
// production, so each is a compare, a branch that is never taken and a direct
// call. An interface in its place would make every system call an indirect one
// and keep the arguments on the heap.
//
// A call that only epoll makes stands in io_epoll*.go, beside the one place that
// makes it; here are the others.
type kernel struct {
	sim *simulation

	epfd int
	msg  unix.Msghdr
	iov  [maxVectors]unix.Iovec
	addr unix.RawSockaddrAny
	alen uint32

	conduit conduit
}

// A simulation takes the place of the kernel in tests.
type simulation struct {
	now        func() Time
	epollCtl   func(op, fd int, events uint32, data token) error
	epollWait  func(evs []unix.EpollEvent, timeout Time) (int, unix.Errno)
	recv       func(fd int, p []byte) (n int, mark bool, errno unix.Errno)
	send       func(fd int, pieces [][]byte) (int, unix.Errno)
	accept     func(fd int) (int, netip.AddrPort, unix.Errno)
	shutdown   func(fd int) error
	socketErr  func(fd int) unix.Errno
	finished   func(fd int) bool
	closeReset func(fd int, reset bool)
	closeFD    func(fd int, reset bool)
	poll       func(fd int, events int16) int16
	unsent     func(fd int) int
	unread     func(fd int) int
	classify   func(fd int) fdKind
	pause      func(time.Duration)
	fill       func(fd, most int) (int, unix.Errno)
	pour       func(fd, n int) (int, unix.Errno)
	readBack   func(p []byte) int

	// For the ring only.
	ring func(count, size int) *uring.Ring
}

func (k *kernel) now() Time {
	if k.sim != nil {
		return k.sim.now()
	}
	return monotonic()
}

// watch registers what is no connection: a listener, a user's descriptor, the
// waker.
func (k *kernel) watch(fd int, events uint32, t token) error {
	return k.epollCtl(unix.EPOLL_CTL_ADD, fd, events|edgeTriggered, t)
}

// accept takes one connection, non-blocking and close-on-exec: neither is
// inherited from the listener.
func (k *kernel) accept(fd int) (int, netip.AddrPort, unix.Errno) {
	if k.sim != nil {
		return k.sim.accept(fd)
	}
	k.alen = uint32(unsafe.Sizeof(k.addr))
	r, _, errno := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(&k.addr)),
		uintptr(unsafe.Pointer(&k.alen)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, netip.AddrPort{}, errno
	}
	return int(r), k.peer(int(r)), 0
}

// peer returns the address of fd's peer, which accept4 has filled in. A
// link-local IPv6 address has a zone, the name of the interface: without it the
// address leads nowhere.
func (k *kernel) peer(fd int) netip.AddrPort {
	peer := peerOf(&k.addr)
	in := (*unix.RawSockaddrInet6)(unsafe.Pointer(&k.addr))
	if in.Family != unix.AF_INET6 || in.Scope_id == 0 || !peer.Addr().Is6() {
		return peer
	}
	return netip.AddrPortFrom(peer.Addr().WithZone(zone(fd, in.Scope_id)), peer.Port())
}

// zone returns the name of the interface with that index, or the index. fd is
// asked because its network namespace may not be that of the process.
func zone(fd int, index uint32) string {
	ifr, err := unix.NewIfreq("")
	if err == nil {
		ifr.SetUint32(index)
		if err = unix.IoctlIfreq(fd, unix.SIOCGIFNAME, ifr); err == nil {
			return ifr.Name()
		}
	}
	return strconv.FormatUint(uint64(index), 10)
}

// peerOf converts what accept4 filled in. The result is zero for Unix peers,
// which seldom have a name. IPv4 peers of a dual-stack socket are shown as
// IPv4. The zone of a link-local address is the number of the interface;
// kernel.peer asks for its name.
func peerOf(sa *unix.RawSockaddrAny) netip.AddrPort {
	port := func(p *uint16) uint16 {
		return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(p))[:])
	}
	switch sa.Addr.Family {
	case unix.AF_INET:
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(in.Addr), port(&in.Port))
	case unix.AF_INET6:
		in := (*unix.RawSockaddrInet6)(unsafe.Pointer(sa))
		addr := netip.AddrFrom16(in.Addr).Unmap()
		if in.Scope_id != 0 {
			addr = addr.WithZone(strconv.FormatUint(uint64(in.Scope_id), 10))
		}
		return netip.AddrPortFrom(addr, port(&in.Port))
	}
	return netip.AddrPort{}
}

// keepNonblock restores O_NONBLOCK: the flag lives on the open
// file description, and any process that shares it can clear it.
func (k *kernel) keepNonblock(fd int) {
	if k.sim != nil {
		return
	}
	flags, _, errno := unix.RawSyscall(unix.SYS_FCNTL, uintptr(fd), unix.F_GETFL, 0)
	if errno == 0 && flags&unix.O_NONBLOCK == 0 {
		unix.RawSyscall(unix.SYS_FCNTL, uintptr(fd), unix.F_SETFL, flags|unix.O_NONBLOCK)
	}
}

// shutdown sends FIN; input goes on. The call is raw, since it works on a socket and never
// waits, but it may take as long as the peer's kernel needs for the FIN on loopback.
func (k *kernel) shutdown(fd int) error {
	if k.sim != nil {
		return k.sim.shutdown(fd)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_WR, 0); errno != 0 {
		return os.NewSyscallError("shutdown", errno)
	}
	return nil
}

// socketErr returns and clears the pending error of a socket (SO_ERROR).
func (k *kernel) socketErr(fd int) unix.Errno {
	if k.sim != nil {
		return k.sim.socketErr(fd)
	}
	v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return 0
	}
	return unix.Errno(v)
}

// close takes fd out of epoll and closes it.
func (k *kernel) close(fd int, reset bool) {
	if k.sim != nil {
		k.sim.closeReset(fd, reset)
		return
	}
	k.epollDel(fd)
	k.closeFD(fd, reset)
}

// closeFD closes a descriptor that epoll does not know.
func (k *kernel) closeFD(fd int, reset bool) {
	if k.sim != nil {
		k.sim.closeFD(fd, reset)
		return
	}
	if reset {
		// A zero linger time is the one that does not block: close sends RST.
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	unix.Close(fd) // Linux has freed the number even when it reports EINTR (close(2))
}

// poll asks poll(2) which of events hold, without waiting for any. A signal interrupts it
// only if none does.
func (k *kernel) poll(fd int32, events int16) int16 {
	if k.sim != nil {
		return k.sim.poll(int(fd), events)
	}
	p := [...]unix.PollFd{{Fd: fd, Events: events}}
	if n, err := unix.Poll(p[:], 0); n <= 0 || err != nil {
		return 0
	}
	return p[0].Revents
}

// unsent returns how much of the output that the kernel has taken it still
// holds (SIOCOUTQ, tcp(7)). On TCP these are the bytes that the peer has not
// acknowledged. On a Unix socket it is the memory of what the peer has not read,
// which tells as well whether output moves. It is 0 for a descriptor that cannot
// tell.
func (k *kernel) unsent(fd int) int {
	if k.sim != nil {
		return k.sim.unsent(fd)
	}
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	if err != nil {
		return 0
	}
	return n
}

// unread returns how much input the kernel holds for the loop (SIOCINQ, tcp(7)). It is 0 for
// a descriptor that cannot tell.
func (k *kernel) unread(fd int) int {
	if k.sim != nil {
		return k.sim.unread(fd)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCINQ) // the same number
	if err != nil {
		return 0
	}
	return n
}

// pause sleeps.
func (k *kernel) pause(d time.Duration) {
	if k.sim != nil {
		k.sim.pause(d)
		return
	}
	time.Sleep(d)
}

// ring makes the queues and buffers of the ring.
func (k *kernel) ring(count, size int) (*uring.Ring, error) {
	if k.sim != nil {
		return k.sim.ring(count, size), nil
	}
	return uring.New(count, size)
}
