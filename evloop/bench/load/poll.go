// SPDX-License-Identifier: Apache-2.0

package load

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A poller waits for many descriptors on one thread. Events are edge-triggered
// and armed once for both directions, so that a busy client costs one receive
// and one send for each round and nothing else.
type poller struct {
	fd     int
	behind *behind // is served by wait; nil: there is none
	events [256]unix.EpollEvent
}

func newPoller(o Options) (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	p := &poller{fd: fd}
	if err := attach(p, o); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// add makes wait return index whenever fd becomes readable or writable.
func (p *poller) add(fd, index int) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&(1<<32-1), Fd: int32(index)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &ev))
}

// wait returns the next events, or none after millis. It asks without sleeping
// first: under load that is enough, and saves a hand-over to Go's scheduler.
func (p *poller) wait(millis int) ([]unix.EpollEvent, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events)), uintptr(len(p.events)), 0, 0, 0)
	if errno == 0 && n == 0 && millis != 0 {
		runtime.Gosched() // the collector's turn, if any, before we sleep
		n, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events)), uintptr(len(p.events)), uintptr(millis), 0, 0)
	}
	if errno == unix.EINTR {
		return nil, nil
	}
	if errno != 0 {
		return nil, os.NewSyscallError("epoll_pwait", errno)
	}
	if p.behind == nil {
		return p.events[:n], nil
	}
	return p.ours(p.events[:n])
}

// ours has the server behind a relay serve its events, and returns the others.
func (p *poller) ours(events []unix.EpollEvent) ([]unix.EpollEvent, error) {
	rest := events[:0]
	for _, e := range events {
		if e.Fd > behindBase {
			rest = append(rest, e)
			continue
		}
		if err := p.behind.event(int(e.Fd)); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

func (p *poller) close() {
	if p.behind != nil {
		p.behind.close()
	}
	unix.Close(p.fd)
}

// errEOF says that the server closed a connection that was in use.
var errEOF = errors.New("the server closed a connection")

// receive reads once. It returns 0 and no error when there is nothing to read.
func receive(fd int, buf []byte) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)), unix.MSG_DONTWAIT, 0, 0)
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		return 0, nil
	case errno != 0:
		return 0, os.NewSyscallError("recvfrom", errno)
	case n == 0:
		return 0, errEOF
	}
	return int(n), nil
}

// discard reads at most n bytes and throws them away. It returns 0 and no error when there
// is nothing to read.
func discard(fd, n int) (int, error) {
	got, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), 0, uintptr(n), unix.MSG_DONTWAIT|unix.MSG_TRUNC, 0, 0)
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		return 0, nil
	case errno != 0:
		return 0, os.NewSyscallError("recvfrom", errno)
	case got == 0:
		return 0, errEOF
	}
	return int(got), nil
}

// send writes once. It returns 0 and no error when there is no room.
func send(fd int, p []byte) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	if errno == unix.EAGAIN || errno == unix.EINTR {
		return 0, nil
	}
	if errno != 0 {
		return 0, os.NewSyscallError("sendto", errno)
	}
	return int(n), nil
}

// An endpoint is a server's address, parsed once.
type endpoint struct {
	family int
	to     unix.Sockaddr
	window int // of what is received, in bytes, and segments as on a LAN; 0: what the kernel chooses
}

func newEndpoint(network, address string) (endpoint, error) {
	if network == "unix" {
		return endpoint{family: unix.AF_UNIX, to: &unix.SockaddrUnix{Name: address}}, nil
	}
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return endpoint{}, fmt.Errorf("parse address: %w", err)
	}
	if !ap.Addr().Is4() {
		return endpoint{}, fmt.Errorf("parse address: %s is not IPv4", address)
	}
	return endpoint{family: unix.AF_INET, to: &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}}, nil
}

// lanSegment is the size of segments by Ethernet. Those of loopback are so large that the
// kernel would keep megabytes for a client that does not read.
const lanSegment = 1448

// dial connects; the descriptor is non-blocking afterwards. from is added to
// the source address 127.0.0.1: ports run out per pair of addresses.
func (e endpoint) dial(from int, flags int) (int, error) {
	fd, err := unix.Socket(e.family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|flags, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if e.family == unix.AF_INET {
		if err := fromLoopback(fd, from); err != nil {
			unix.Close(fd)
			return -1, err
		}
	}
	if e.window > 0 {
		err := errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, e.window),
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_MAXSEG, lanSegment))
		if err != nil {
			unix.Close(fd)
			return -1, os.NewSyscallError("setsockopt", err)
		}
	}
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		err = unix.Connect(fd, e.to)
	}
	if err != nil && !errors.Is(err, unix.EINPROGRESS) {
		unix.Close(fd)
		return -1, os.NewSyscallError("connect", err)
	}
	return fd, unix.SetNonblock(fd, true)
}

func fromLoopback(fd, from int) error {
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if from == 0 {
		return nil
	}
	// The port is chosen at connect(2), when the pair of addresses is known.
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	src := &unix.SockaddrInet4{Addr: [4]byte{127, 0, byte(from >> 8), byte(from)}}
	return os.NewSyscallError("bind", unix.Bind(fd, src))
}
