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
// Calls on a socket with MSG_DONTWAIT cannot block and use RawSyscall, which
// skips the scheduler's bookkeeping: a quarter of the CPU of an echo. What
// could block if another process cleared O_NONBLOCK on the shared
// description (accept, ttys, pipes) goes through the scheduler, so that the
// other goroutines live on.
type kernel struct {
	sim *simulation

	epfd int
	msg  unix.Msghdr
	iov  [maxVectors]unix.Iovec
	addr unix.RawSockaddrAny
	alen uint32
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
	poll       func(fd int, events int16) int16
	unsent     func(fd int) int
	pause      func(time.Duration)

	// For the ring only.
	ring    func(count, size int) *uring.Ring
	closeFD func(fd int, reset bool)
}

func (k *kernel) now() Time {
	if k.sim != nil {
		return k.sim.now()
	}
	return monotonic()
}

func (k *kernel) epollAdd(fd int, events uint32, t token) error {
	return k.epollCtl(unix.EPOLL_CTL_ADD, fd, events, t)
}

// watch registers what is no connection: a listener, a user's descriptor, the
// waker.
func (k *kernel) watch(fd int, events uint32, t token) error {
	return k.epollCtl(unix.EPOLL_CTL_ADD, fd, events|edgeTriggered, t)
}

func (k *kernel) epollMod(fd int, events uint32, t token) error {
	return k.epollCtl(unix.EPOLL_CTL_MOD, fd, events, t)
}

// epollDel ends the registration of a descriptor that lives on.
func (k *kernel) epollDel(fd int) {
	if k.sim != nil {
		k.sim.epollCtl(unix.EPOLL_CTL_DEL, fd, 0, 0)
		return
	}
	unix.EpollCtl(k.epfd, unix.EPOLL_CTL_DEL, fd, nil)
}

func (k *kernel) epollCtl(op, fd int, events uint32, t token) error {
	if k.sim != nil {
		return k.sim.epollCtl(op, fd, events, t)
	}
	// Both words of epoll_data are written: x/sys calls them Fd and Pad on
	// every architecture, and the kernel hands back all 64 bits.
	ev := unix.EpollEvent{Events: events, Fd: int32(uint32(t)), Pad: int32(uint32(t >> 32))}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(k.epfd, op, fd, &ev))
}

func tokenOf(ev *unix.EpollEvent) token {
	return token(uint32(ev.Pad))<<32 | token(uint32(ev.Fd))
}

// epollWait returns at once for a zero timeout, and then as a raw call.
func (k *kernel) epollWait(evs []unix.EpollEvent, timeout Time) (int, unix.Errno) {
	if k.sim != nil {
		return k.sim.epollWait(evs, timeout)
	}
	// epoll_pwait: arm64 and riscv64 have no epoll_wait.
	var r uintptr
	var errno unix.Errno
	if timeout == 0 {
		r, _, errno = unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(k.epfd),
			uintptr(unsafe.Pointer(&evs[0])), uintptr(len(evs)), 0, 0, 0)
	} else {
		r, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(k.epfd),
			uintptr(unsafe.Pointer(&evs[0])), uintptr(len(evs)), uintptr(millis(timeout.Sub(0))), 0, 0)
	}
	return int(r), errno
}

// recv reads from a connection. mark says that a short read does not mean
// drained. Passed descriptors (SCM_RIGHTS) are never asked for, so the kernel
// closes them; but a Unix stream ends a read behind the bytes that carried
// them. recvmsg without room for control data reports that as MSG_CTRUNC. It
// costs a tenth of an echo more than recvfrom, to which a stream changes when
// it is empty and the peer can pass nothing any more. A packet that did not fit
// returns its true length (MSG_TRUNC, recv(2)); some streams take that flag for
// leave to throw bytes away (tcp(7)).
func (k *kernel) recv(c *Conn, p []byte) (n int, mark bool, errno unix.Errno) {
	if k.sim != nil {
		return k.sim.recv(int(c.fd), p)
	}
	fd, size := uintptr(c.fd), uintptr(len(p))
	var r uintptr
	switch {
	case c.kind.plainStream() || c.edge&edgePlain != 0:
		r, _, errno = unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&p[0])), size, unix.MSG_DONTWAIT, 0, 0)
	case c.kind.isSocket():
		flags := uintptr(unix.MSG_DONTWAIT)
		if !c.kind.isStream() {
			flags |= unix.MSG_TRUNC
		}
		k.iov[0].Base = &p[0]
		k.iov[0].SetLen(len(p))
		k.msg.Iov = &k.iov[0]
		k.msg.SetIovlen(1)
		r, _, errno = unix.RawSyscall(unix.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&k.msg)), flags)
		mark = k.msg.Flags&unix.MSG_CTRUNC != 0
		k.msg.Flags = 0
		if empty := errno == unix.EAGAIN || errno == 0 && r < size && !mark; empty && c.edge&edgeNoRights != 0 {
			c.edge |= edgePlain
		}
	default:
		k.iov[0].Base = &p[0]
		k.iov[0].SetLen(len(p))
		r, errno = k.file(c, unix.SYS_PREADV2, 1)
	}
	return int(r), mark, errno
}

// send writes pieces, of which there are at least one and at most maxVectors.
func (k *kernel) send(c *Conn, pieces [][]byte) (int, unix.Errno) {
	if k.sim != nil {
		return k.sim.send(int(c.fd), pieces)
	}
	const flags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL
	fd := uintptr(c.fd)
	var r uintptr
	var errno unix.Errno
	if p := pieces[0]; len(pieces) == 1 {
		if c.kind.isSocket() {
			r, _, errno = unix.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), flags, 0, 0)
			return int(r), errno
		}
	}
	for i, p := range pieces {
		k.iov[i].Base = &p[0]
		k.iov[i].SetLen(len(p))
	}
	if c.kind.isSocket() {
		k.msg.Iov = &k.iov[0]
		k.msg.SetIovlen(len(pieces))
		r, _, errno = unix.RawSyscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&k.msg)), flags)
	} else {
		r, errno = k.file(c, unix.SYS_PWRITEV2, len(pieces))
	}
	clear(k.iov[:len(pieces)]) // they would keep the messages alive
	return int(r), errno
}

// file reads or writes the first n of k.iov on a descriptor that is no socket.
// Any process that shares the open file description can clear O_NONBLOCK, a
// shell on its terminal for one, and the loop must not hang on it. RWF_NOWAIT
// does not look at that flag. What does not know it (terminals, pipes before
// Linux 6.4) is asked by poll(2) first, with the flag back in place.
func (k *kernel) file(c *Conn, call uintptr, n int) (uintptr, unix.Errno) {
	const here = ^uintptr(0) // the position of a stream: both halves of -1
	if c.edge&edgeBlocks == 0 {
		r, _, errno := unix.Syscall6(call, uintptr(c.fd), uintptr(unsafe.Pointer(&k.iov[0])), uintptr(n), here, here, unix.RWF_NOWAIT)
		switch errno {
		default:
			return r, errno
		case unix.EOPNOTSUPP, unix.ENOSYS, unix.EINVAL, unix.EPERM: // the last is a seccomp filter's
			c.edge |= edgeBlocks
		}
	}
	events, plain := int16(unix.POLLIN), uintptr(unix.SYS_READV)
	if call == unix.SYS_PWRITEV2 {
		events, plain = unix.POLLOUT, unix.SYS_WRITEV
	}
	k.keepNonblock(int(c.fd))
	if k.poll(c.fd, events) == 0 {
		return ^uintptr(0), unix.EAGAIN
	}
	r, _, errno := unix.Syscall(plain, uintptr(c.fd), uintptr(unsafe.Pointer(&k.iov[0])), uintptr(n))
	return r, errno
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

// peer returns the address of fd's peer, which accept4 has filled in. That of
// an IPv6 link has a zone, the name of the interface: without it nobody could
// answer there.
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

// peerOf converts what accept4 filled in. Unix peers have no address worth
// the name. IPv4 peers of a dual-stack socket are shown as IPv4. The zone of a
// link-local address is the number of the interface; kernel.peer asks for its
// name.
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

// shutdown sends FIN; input goes on.
func (k *kernel) shutdown(fd int) error {
	if k.sim != nil {
		return k.sim.shutdown(fd)
	}
	return os.NewSyscallError("shutdown", unix.Shutdown(fd, unix.SHUT_WR))
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

// finished tells the end of a packet stream from an empty packet: recv
// returns 0 for both. At the end the peer's side is shut, which poll(2) knows
// at once and the last event may not, and no byte is left.
func (k *kernel) finished(c *Conn) bool {
	if k.sim != nil {
		return k.sim.finished(int(c.fd))
	}
	p := [...]unix.PollFd{{Fd: c.fd, Events: unix.POLLRDHUP}}
	if n, err := unix.Poll(p[:], 0); n <= 0 || err != nil {
		return false
	}
	left, err := unix.IoctlGetInt(int(c.fd), unix.TIOCINQ)
	return err != nil || left == 0
}

// close takes fd out of epoll and closes it.
func (k *kernel) close(fd int, reset bool) {
	if k.sim != nil {
		k.sim.closeReset(fd, reset)
		return
	}
	unix.EpollCtl(k.epfd, unix.EPOLL_CTL_DEL, fd, nil)
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

// poll asks poll(2) which of events hold, without waiting for any.
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
