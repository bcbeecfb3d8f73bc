// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"errors"
	"net/netip"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A door is an Acceptor that notes what it was told.
type door struct {
	h       Handler // nil: refuse
	peers   []netip.AddrPort
	fds     []int
	failed  []error
	onEnter func(ln *Listener)
}

func (d *door) Accept(ln *Listener, fd int, peer netip.AddrPort) (Handler, any) {
	d.peers, d.fds = append(d.peers, peer), append(d.fds, fd)
	if d.onEnter != nil {
		d.onEnter(ln)
	}
	return d.h, len(d.peers)
}

func (d *door) Failed(ln *Listener, err error) { d.failed = append(d.failed, err) }

// listen opens a door on a TCP port.
func (r *rig) listen(backlog int) (*Listener, *door) {
	r.Helper()
	return r.listenOn(tcpListener(r.T, backlog))
}

func (r *rig) listenOn(fd int) (*Listener, *door) {
	r.Helper()
	d := &door{h: r.probe}
	ln, err := r.l.Listen(fd, d)
	if err != nil {
		r.Fatal(err)
	}
	return ln, d
}

func (r *rig) connected(n int) {
	r.Helper()
	r.until("connections", func() bool { return r.l.Stats().Conns == n })
}

// A burst is accepted in batches, others are served between.
func TestLoopAcceptBatches(t *testing.T) { eachBackend(t, acceptBatches) }

func acceptBatches(r *rig) {
	const clients = 3*acceptBatch + 10
	other, asker := r.unix()
	r.onData = func(c *Conn, p []byte) int { c.Write(p); return len(p) }
	ln, _ := r.listen(clients)
	for range clients {
		dial(r.T, ln.FD())
	}
	arrives(r.T, ln.FD(), unix.POLLIN)
	for before := uint64(0); r.l.Stats().Accepted < clients; before = r.l.Stats().Accepted {
		asker.write("?")
		r.turn()
		if got := string(asker.read()); got != "?" {
			r.Fatalf("got %q in a turn of a burst, want the answer", got)
		}
		if n := r.l.Stats().Accepted - before; n == 0 || n > acceptBatch {
			r.Fatalf("%d accepted in a turn, want 1 to %d", n, acceptBatch)
		}
	}
	if other.BytesIn() == 0 || r.l.Stats().AcceptErrors != 0 {
		r.Errorf("%+v", r.l.Stats())
	}
}

// A limit leaves clients in the backlog until a place is free.
func TestLoopAcceptLimit(t *testing.T) { eachBackend(t, acceptLimit) }

func acceptLimit(r *rig) {
	r.use(Config{Connections: 2})
	ln, _ := r.listen(8)
	var peers []*peer
	for range 5 {
		peers = append(peers, dial(r.T, ln.FD()))
	}
	r.connected(2)
	for range 3 {
		r.turn()
	}
	if got := r.l.Stats().Accepted; got != 2 {
		r.Fatalf("%d accepted, limit 2", got)
	}
	for want := uint64(3); want <= 5; want++ {
		peers[want-3].reset()
		r.until("the next", func() bool { return r.l.Stats().Accepted == want })
		if got := r.l.Stats().Conns; got > 2 {
			r.Errorf("%d connections, limit 2", got)
		}
	}
}

// A raised limit lets in the clients that wait.
func TestLoopAcceptRaisedLimit(t *testing.T) { eachBackend(t, acceptRaisedLimit) }

func acceptRaisedLimit(r *rig) {
	r.use(Config{Connections: 1})
	ln, _ := r.listen(8)
	for range 3 {
		dial(r.T, ln.FD())
	}
	r.connected(1)
	r.do(func() { r.l.SetLimits(3, 0) })
	r.connected(3)
}

// A listener whose O_NONBLOCK was cleared does not block the loop.
func TestLoopAcceptBlocking(t *testing.T) { eachBackend(t, acceptBlocking) }

// O_NONBLOCK belongs to the open file description. If the loop trusted it,
// this case would hang in accept once the backlog is empty.
func acceptBlocking(r *rig) {
	ln, _ := r.listen(8)
	dup, err := unix.Dup(ln.FD())
	if err != nil {
		r.Fatal(err)
	}
	defer unix.Close(dup)
	for i := range 3 {
		if err := unix.SetNonblock(dup, false); err != nil {
			r.Fatal(err)
		}
		dial(r.T, ln.FD())
		r.connected(i + 1)
	}
}

// A listener that another holder shut down is dead.
func TestLoopAcceptShutDown(t *testing.T) { eachBackend(t, acceptShutDown) }

func acceptShutDown(r *rig) {
	ln, d := r.listen(8)
	dup, err := unix.Dup(ln.FD())
	if err != nil {
		r.Fatal(err)
	}
	defer unix.Close(dup)
	unix.Shutdown(dup, unix.SHUT_RD)
	r.until("the end of the listener", ln.Dead)
	if len(d.failed) != 1 || !errors.Is(d.failed[0], unix.EINVAL) {
		r.Errorf("Failed(%v), want EINVAL once", d.failed)
	}
	before := r.l.Stats().AcceptErrors
	for range 5 {
		r.turn()
	}
	ln.Pause()
	ln.Resume()
	r.turn()
	if got := r.l.Stats().AcceptErrors - before; got != 0 {
		r.Errorf("a dead listener was asked %d times more", got)
	}
	ln.Close()
	ln.Close()
}

// A client that has gone before it was accepted harms nobody.
func TestLoopAcceptGone(t *testing.T) { eachBackend(t, acceptGone) }

func acceptGone(r *rig) {
	ln, _ := r.listen(8)
	dial(r.T, ln.FD()).reset()
	p := dial(r.T, ln.FD())
	p.write("still here")
	r.until("the second client", func() bool {
		for c := range r.l.Conns() {
			if string(r.of(c).got) == "still here" {
				return true
			}
		}
		return false
	})
}

// An acceptor may refuse a client.
func TestLoopAcceptRefuses(t *testing.T) { eachBackend(t, acceptRefuses) }

func acceptRefuses(r *rig) {
	ln, d := r.listen(8)
	d.h = nil
	p := dial(r.T, ln.FD())
	r.spin("the refusal", func() bool { return len(d.fds) == 1 })
	arrives(r.T, p.fd, unix.POLLIN)
	if got := p.read(); len(got) > 0 || r.l.Stats().Conns != 0 {
		r.Errorf("peer got %q, %d connections", got, r.l.Stats().Conns)
	}
	if _, err := unix.FcntlInt(uintptr(d.fds[0]), unix.F_GETFD, 0); !errors.Is(err, unix.EBADF) {
		r.Errorf("descriptor of the refused client: %v, want EBADF", err)
	}
}

// An acceptor gives each connection its handler and state.
func TestLoopAcceptState(t *testing.T) { eachBackend(t, acceptState) }

func acceptState(r *rig) {
	ln, _ := r.listen(8)
	var states []any
	r.onOpen = func(c *Conn) { states = append(states, c.State) }
	dial(r.T, ln.FD())
	dial(r.T, ln.FD())
	r.connected(2)
	if len(states) != 2 || states[0] != 1 || states[1] != 2 {
		r.Errorf("states in Open: %v, want 1 and 2", states)
	}
}

// A paused listener leaves clients in the backlog.
func TestLoopAcceptPaused(t *testing.T) { eachBackend(t, acceptPaused) }

func acceptPaused(r *rig) {
	ln, d := r.listen(8)
	ln.Pause()
	dial(r.T, ln.FD())
	arrives(r.T, ln.FD(), unix.POLLIN)
	for range 3 {
		r.turn()
	}
	if len(d.peers) != 0 {
		r.Error("accepted while paused")
	}
	r.do(ln.Resume)
	r.connected(1)
}

// A listener may be closed in Accept and leaves the backlog.
func TestLoopAcceptClosed(t *testing.T) { eachBackend(t, acceptClosed) }

// The backlog belongs to whoever holds the socket next.
func acceptClosed(r *rig) {
	ln, d := r.listen(8)
	dup, err := unix.Dup(ln.FD())
	if err != nil {
		r.Fatal(err)
	}
	defer unix.Close(dup)
	d.onEnter = func(ln *Listener) { ln.Close() }
	dial(r.T, dup)
	dial(r.T, dup)
	r.connected(1)
	r.turn()
	if got := r.l.Stats(); got.Listeners != 0 || got.Accepted != 1 {
		r.Errorf("%d listeners, %d accepted; want none and 1", got.Listeners, got.Accepted)
	}
	fd, _, err := unix.Accept4(dup, unix.SOCK_CLOEXEC)
	if err != nil {
		r.Fatalf("the next holder: accept: %v", err)
	}
	unix.Close(fd)
}

// Peers have their addresses.
func TestLoopAcceptPeers(t *testing.T) { eachBackend(t, acceptPeers) }

func acceptPeers(r *rig) {
	path := filepath.Join(r.TempDir(), "s")
	for _, tt := range []struct {
		name string
		fd   int
		want string // of the address; empty: the zero AddrPort
	}{
		{"IPv4", tcpListener(r.T, 1), "127.0.0.1"},
		{"IPv6", listener(r.T, unix.AF_INET6, unix.SOCK_STREAM, &unix.SockaddrInet6{Addr: netip.IPv6Loopback().As16()}, 1), "::1"},
		{"IPv4 to a socket for both", listener(r.T, unix.AF_INET6, unix.SOCK_STREAM, &unix.SockaddrInet6{Addr: netip.MustParseAddr("::ffff:127.0.0.1").As16()}, 1), "127.0.0.1"},
		{"Unix stream", listener(r.T, unix.AF_UNIX, unix.SOCK_STREAM, &unix.SockaddrUnix{Name: path}, 1), ""},
		{"Unix seqpacket", listener(r.T, unix.AF_UNIX, unix.SOCK_SEQPACKET, &unix.SockaddrUnix{Name: path + "q"}, 1), ""},
	} {
		ln, d := r.listenOn(tt.fd)
		p := dial(r.T, tt.fd)
		r.until("a peer", func() bool { return len(d.peers) == 1 })
		got := d.peers[0]
		if tt.want == "" {
			if got.IsValid() {
				r.Errorf("%s: peer %v, want none", tt.name, got)
			}
			continue
		}
		sa, err := unix.Getsockname(p.fd)
		if err != nil {
			r.Fatal(err)
		}
		port := 0
		switch sa := sa.(type) {
		case *unix.SockaddrInet4:
			port = sa.Port
		case *unix.SockaddrInet6:
			port = sa.Port
		}
		if got != netip.AddrPortFrom(netip.MustParseAddr(tt.want), uint16(port)) {
			r.Errorf("%s: peer %v, want %s port %d", tt.name, got, tt.want, port)
		}
		ln.Close()
	}
}

// Accepted sockets are non-blocking, close-on-exec and undelayed.
func TestLoopAcceptFlags(t *testing.T) { eachBackend(t, acceptFlags) }

func acceptFlags(r *rig) {
	ln, d := r.listen(8)
	dial(r.T, ln.FD())
	r.connected(1)
	fd := uintptr(d.fds[0])
	if fl, err := unix.FcntlInt(fd, unix.F_GETFL, 0); err != nil || fl&unix.O_NONBLOCK == 0 {
		r.Errorf("flags %#x, %v; want O_NONBLOCK", fl, err)
	}
	if fl, err := unix.FcntlInt(fd, unix.F_GETFD, 0); err != nil || fl&unix.FD_CLOEXEC == 0 {
		r.Errorf("descriptor flags %#x, %v; want FD_CLOEXEC", fl, err)
	}
	if on, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY); err != nil || on == 0 {
		r.Errorf("TCP_NODELAY %d, %v", on, err)
	}
}

// What is no listener is refused.
func TestLoopListenRefuses(t *testing.T) { eachBackend(t, listenRefuses) }

func listenRefuses(r *rig) {
	stream, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		r.Fatal(err)
	}
	defer unix.Close(stream)
	dgram, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		r.Fatal(err)
	}
	defer unix.Close(dgram)
	for _, tt := range []struct {
		name string
		fd   int
		want error
	}{
		{"a socket that does not listen", stream, ErrNotListening},
		{"a datagram socket", dgram, ErrSocketType},
		{"no socket", r.l.sys.epfd, unix.ENOTSOCK},
		{"no descriptor", -1, unix.EBADF},
	} {
		ln, err := r.l.Listen(tt.fd, &door{})
		if ln != nil || !errors.Is(err, tt.want) {
			r.Errorf("%s: Listen = %v, %v; want %v", tt.name, ln, err, tt.want)
		}
	}
}
