// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"io"
	"testing"

	"golang.org/x/sys/unix"
)

// A peer is the other end of a connection under test: a non-blocking
// descriptor of the test's own. Package net would do, but it reads and writes
// on goroutines and so hides what is where at a given moment.
type peer struct {
	t  *testing.T
	fd int // -1: closed
}

func newPeer(t *testing.T, fd int) *peer {
	p := &peer{t, fd}
	unix.SetNonblock(fd, true)
	t.Cleanup(p.close)
	return p
}

// offer sends what the kernel takes of b and returns how much that was.
func (p *peer) offer(b []byte) int {
	p.t.Helper()
	n, err := unix.Write(p.fd, b)
	if err != nil && err != unix.EAGAIN {
		p.t.Fatalf("peer: write: %v", err)
	}
	return max(n, 0)
}

// write sends b, for which there must be room.
func (p *peer) write(b string) {
	p.t.Helper()
	if n := p.offer([]byte(b)); n != len(b) {
		p.t.Fatalf("peer: wrote %d of %d bytes", n, len(b))
	}
}

// receive reads until there is nothing more (nil), the end (io.EOF) or an error.
func (p *peer) receive() (got []byte, err error) {
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Read(p.fd, buf)
		switch {
		case err == unix.EAGAIN:
			return got, nil
		case err != nil:
			return got, err
		case n == 0:
			return got, io.EOF
		}
		got = append(got, buf[:n]...)
	}
}

// read returns what has come; the end is no error.
func (p *peer) read() []byte {
	p.t.Helper()
	got, err := p.receive()
	if err != nil && err != io.EOF {
		p.t.Fatalf("peer: read: %v", err)
	}
	return got
}

// shut sends FIN and keeps reading.
func (p *peer) shut() { unix.Shutdown(p.fd, unix.SHUT_WR) }

// reset closes by RST.
func (p *peer) reset() {
	unix.SetsockoptLinger(p.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	p.close()
}

func (p *peer) close() {
	if p.fd >= 0 {
		unix.Close(p.fd)
		p.fd = -1
	}
}

// arrives waits until poll(2) reports one of events for fd.
func arrives(t *testing.T, fd int, events int16) {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		n, err := unix.Poll(fds, int(patience.Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		if n != 1 || err != nil {
			t.Fatalf("poll = %d, %v; want event %#x", n, err, events)
		}
		return
	}
}

// socketPair returns a Unix pair of type typ.
func socketPair(t *testing.T, typ int) (ours int, p *peer) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, typ|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fds[0], newPeer(t, fds[1])
}

// tcpPair returns a connection over loopback.
func tcpPair(t *testing.T) (ours int, p *peer) {
	t.Helper()
	ln := tcpListener(t, 1)
	defer unix.Close(ln)
	p = dial(t, ln)
	ours, _, err := unix.Accept4(ln, unix.SOCK_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	return ours, p
}

// tcpListener returns a socket that listens on a port of the kernel's choice.
func tcpListener(t *testing.T, backlog int) int {
	t.Helper()
	return listener(t, unix.AF_INET, unix.SOCK_STREAM, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}, backlog)
}

func unixListener(t *testing.T, backlog int) int {
	t.Helper()
	return listener(t, unix.AF_UNIX, unix.SOCK_STREAM, &unix.SockaddrUnix{}, backlog) // any abstract name
}

func listener(t *testing.T, domain, typ int, sa unix.Sockaddr, backlog int) int {
	t.Helper()
	fd, err := unix.Socket(domain, typ|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, sa); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, backlog); err != nil {
		t.Fatal(err)
	}
	return fd
}

// dial connects to what listens on ln; the handshake is done by the kernel,
// so the connection is complete before anybody accepts it.
func dial(t *testing.T, ln int) *peer {
	t.Helper()
	sa, err := unix.Getsockname(ln)
	if err != nil {
		t.Fatal(err)
	}
	domain, err := unix.GetsockoptInt(ln, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		t.Fatal(err)
	}
	typ, err := unix.GetsockoptInt(ln, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(domain, typ|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fd, sa); err != nil {
		unix.Close(fd)
		t.Fatal(err)
	}
	if domain != unix.AF_UNIX {
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	return newPeer(t, fd)
}
