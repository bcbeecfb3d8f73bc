// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/evloop"
	"penstock/evloop/evlooptest"
)

// A backend is a server of the test's own.
type backend struct {
	t  *testing.T
	ln net.Listener
}

// newBackend listens on a Unix socket or a TCP port.
func newBackend(t *testing.T, network string) *backend {
	t.Helper()
	at := "127.0.0.1:0"
	if network == "unix" {
		at = filepath.Join(t.TempDir(), "b")
	}
	ln, err := net.Listen(network, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return &backend{t, ln}
}

func (b *backend) addr() string { return b.ln.Addr().String() }

// accept takes the next connection.
func (b *backend) accept() net.Conn {
	b.t.Helper()
	if d, ok := b.ln.(interface{ SetDeadline(time.Time) error }); ok {
		d.SetDeadline(time.Now().Add(patience))
	}
	c, err := b.ln.Accept()
	if err != nil {
		b.t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	b.t.Cleanup(func() { c.Close() })
	return c
}

// to returns the keys of a proxy for these addresses, and further ones.
func to(more string, addrs ...string) string {
	return fmt.Sprintf("kind=\"proxy\"\nto=['%s']\n%s", strings.Join(addrs, "','"), more)
}

// client connects a client and returns its end.
func (r *rig) client(network string) net.Conn {
	r.t.Helper()
	fd, peer := evlooptest.Pair(r.t, network)
	r.do(func() {
		if _, err := r.loop.Add(fd, r, r.session()); err != nil {
			r.t.Error(err)
		}
	})
	return peer
}

// relayed serves a proxy with further keys, and returns a client and its backend's end.
func relayed(t *testing.T, more, near, far string) (r *rig, client, backend net.Conn) {
	t.Helper()
	b := newBackend(t, far)
	r = serve(t, to(more, b.addr()))
	client = r.client(near)
	return r, client, b.accept()
}

// eachWay runs f with each network for the client and for the backend.
func eachWay(t *testing.T, f func(t *testing.T, near, far string)) {
	for _, near := range []string{"tcp", "unix"} {
		for _, far := range []string{"tcp", "unix"} {
			t.Run(near+" to "+far, func(t *testing.T) { f(t, near, far) })
		}
	}
}

func wantBytes(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("got %q (%v), want %q", got[:n], err, want)
	}
}

func say2(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatal(err)
	}
}

func shut(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

// A client that shuts its side gets the whole answer, as with printf | nc -N.
func TestProxyHalfCloseOfClient(t *testing.T) {
	eachWay(t, func(t *testing.T, near, far string) {
		b := newBackend(t, far)
		r := serve(t, to("", b.addr()))
		c := r.client(near)
		say2(t, c, "question")
		shut(t, c)
		s := b.accept()
		if got, err := io.ReadAll(s); string(got) != "question" || err != nil {
			t.Fatalf("backend got %q (%v)", got, err)
		}
		answer := strings.Repeat("answer", 100_000)
		go func() { io.WriteString(s, answer); s.Close() }()
		if got, err := io.ReadAll(c); string(got) != answer || err != nil {
			t.Errorf("client got %d bytes (%v), want %d", len(got), err, len(answer))
		}
		r.wantEnd(nil)
		r.until("no backend is left", func() bool { return r.beside == 0 })
	})
}

// A backend that shuts its side still hears the client.
func TestProxyHalfCloseOfBackend(t *testing.T) {
	eachWay(t, func(t *testing.T, near, far string) {
		r, c, s := relayed(t, "", near, far)
		say2(t, s, "hello")
		shut(t, s)
		if got, err := io.ReadAll(c); string(got) != "hello" || err != nil {
			t.Fatalf("client got %q (%v)", got, err)
		}
		say2(t, c, "still here")
		wantBytes(t, s, "still here")
		c.Close()
		if got, err := io.ReadAll(s); len(got) > 0 || err != nil {
			t.Errorf("backend got %q (%v) at the end", got, err)
		}
		r.wantEnd(nil)
	})
}

// A reset of either side is a reset of the other, behind the bytes that came before it.
func TestProxyReset(t *testing.T) {
	reset := func(c net.Conn) { c.(*net.TCPConn).SetLinger(0); c.Close() }
	for _, who := range []string{"backend", "client"} {
		t.Run(who, func(t *testing.T) {
			r, c, s := relayed(t, "", "tcp", "tcp")
			from, at := s, c
			if who == "client" {
				from, at = c, s
			}
			say2(t, from, "last words")
			wantBytes(t, at, "last words")
			reset(from)
			if n, err := at.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
				t.Errorf("read %d bytes, %v; want %v", n, err, unix.ECONNRESET)
			}
			if who == "client" {
				r.wantEnd(unix.ECONNRESET)
			} else {
				r.wantEnd(ErrBackendReset)
			}
		})
	}
}

// A backend that closes with its answer is no failure, whatever the client still says.
func TestProxyBackendClosesEarly(t *testing.T) {
	r, c, s := relayed(t, "", "tcp", "unix")
	say2(t, s, "413 too large")
	s.Close()
	if got, err := io.ReadAll(c); string(got) != "413 too large" || err != nil {
		t.Errorf("client got %q (%v)", got, err)
	}
	c.Close()
	r.wantEnd(nil)
}

// Much of both directions goes through whole while both flow, with a small queue.
func TestProxyBulk(t *testing.T) {
	eachWay(t, func(t *testing.T, near, far string) {
		r, c, s := relayed(t, "queue=4096", near, far)
		const size = 4 << 20
		whole := make(chan bool, 2)
		for i, way := range [][2]net.Conn{{c, s}, {s, c}} {
			data := bytes.Repeat([]byte{byte('a' + i), 1, 2, 3, 5, 7, 11}, size/7)
			go func() { way[0].Write(data); way[0].(interface{ CloseWrite() error }).CloseWrite() }()
			go func() { got, _ := io.ReadAll(way[1]); whole <- bytes.Equal(got, data) }()
		}
		for range 2 {
			if !<-whole {
				t.Error("other bytes arrived than were sent")
			}
		}
		r.wantEnd(nil)
	})
}

// A client that does not read stops its backend, and nothing else: what it sends goes
// through. What waits is bounded.
func TestProxyBackPressure(t *testing.T) {
	r, c, s := relayed(t, "queue=8192", "unix", "unix")
	flood := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	written := make(chan int, 1)
	go func() { n, _ := s.Write(flood); s.Close(); written <- n }()
	r.until("the queue is full", func() bool {
		for c := range r.loop.Conns() {
			if c.Full() {
				return true
			}
		}
		return false
	})
	say2(t, c, "heard all the same")
	wantBytes(t, s, "heard all the same")
	r.do(func() {
		if q := r.loop.Stats().Queued; q > 2*(64<<10)+2*8192+4096 {
			t.Errorf("%d bytes wait for a client that does not read", q)
		}
	})
	got, err := io.ReadAll(c)
	if !bytes.Equal(got, flood) || err != nil {
		t.Errorf("client got %d bytes (%v), want %d", len(got), err, len(flood))
	}
	if n := <-written; n != len(flood) {
		t.Errorf("backend wrote %d bytes of %d", n, len(flood))
	}
}

// With overflow = "disconnect" such a client is ended.
func TestProxyDisconnectsSlowClient(t *testing.T) {
	b := newBackend(t, "unix")
	r := serve(t, to("queue=8192\noverflow=\"disconnect\"", b.addr()))
	r.client("unix")
	s := b.accept()
	go s.Write(make([]byte, 4<<20))
	r.wantEnd(evloop.ErrOverflow)
}

// When the service ends, the backend still answers what it has got.
func TestProxyDrain(t *testing.T) {
	b := newBackend(t, "tcp")
	r := serve(t, to("", b.addr()))
	c := r.client("tcp")
	say2(t, c, "question")
	s := b.accept()
	wantBytes(t, s, "question")
	r.do(func() {
		for c := range r.loop.Conns() {
			if _, client := c.State.(*Session); client {
				r.svc.(Drainer).Drain(c, nil, patience)
			}
		}
	})
	if got, err := io.ReadAll(s); len(got) > 0 || err != nil {
		t.Fatalf("backend got %q (%v), want the end", got, err)
	}
	say2(t, s, "answer")
	s.Close()
	if got, err := io.ReadAll(c); string(got) != "answer" || err != nil {
		t.Errorf("client got %q (%v)", got, err)
	}
	r.wantEnd(nil)
}

// What was read from a client by then goes to a backend that is slow, all of it.
func TestProxyDrainPassesAll(t *testing.T) {
	r, c, s := relayed(t, "queue='8KiB'", "tcp", "tcp")
	sent := make([]byte, 16<<20) // more than the kernels take
	for i := range sent {
		sent[i] = byte(i >> 8)
	}
	go c.Write(sent)
	r.until("input waits for the backend", func() bool {
		for c := range r.loop.Conns() {
			if _, client := c.State.(*Session); client && len(c.Input()) > 0 {
				return true
			}
		}
		return false
	})
	var read int
	r.do(func() {
		for c := range r.loop.Conns() {
			if _, client := c.State.(*Session); client {
				read = int(c.BytesIn())
				r.svc.(Drainer).Drain(c, c.Input(), patience)
			}
		}
	})
	if got, err := io.ReadAll(s); err != nil || len(got) != read || !bytes.Equal(got, sent[:read]) {
		t.Errorf("backend got %d bytes (%v) of %d that were read", len(got), err, read)
	}
}

// A backend that does not end is cut when the time is over.
func TestProxyDrainLapses(t *testing.T) {
	b := newBackend(t, "tcp")
	r := serve(t, to("", b.addr()))
	r.client("tcp")
	b.accept()
	r.do(func() {
		for c := range r.loop.Conns() {
			if _, client := c.State.(*Session); client {
				r.svc.(Drainer).Drain(c, nil, 20*time.Millisecond)
			}
		}
	})
	r.wantEnd(evloop.ErrFlushTimeout)
}

// A direction that moves keeps the other alive, and silence of both ends the pair.
func TestProxyIdle(t *testing.T) {
	const idle = 200 * time.Millisecond
	b := newBackend(t, "tcp")
	r := serve(t, to("", b.addr()), func(r *rig) { r.opts.IdleTimeout = idle })
	// A busy machine may keep the backend from moving. That shows nothing.
	for range 8 {
		began := time.Now()
		c := r.client("tcp")
		s := b.accept()
		halt, err := trickle(s, c, began)
		r.wantEnd(evloop.ErrIdle)
		switch {
		case err == nil:
			if got, err := io.ReadAll(s); len(got) > 0 || err != nil {
				t.Errorf("backend got %q (%v), want the end", got, err)
			}
			return
		case halt < idle/2:
			t.Fatal(err)
		}
		t.Logf("again, the backend was held up for %v: %v", halt, err)
	}
	t.Skip("this machine is too busy for a backend to move all the time")
}

// trickle has from say something to to, ten times, and returns the longest time between
// two of them.
func trickle(from io.Writer, to io.Reader, last time.Time) (halt time.Duration, err error) {
	for i := 0; i < 10 && err == nil; i++ {
		unix.Poll(nil, 50)
		if _, err = io.WriteString(from, "."); err == nil {
			_, err = io.ReadFull(to, make([]byte, 1))
		}
		halt, last = max(halt, time.Since(last)), time.Now()
	}
	return halt, err
}

// A backend that takes nothing ends its client, and the log says who it was.
func TestProxyBackendStalls(t *testing.T) {
	b := newBackend(t, "unix")
	r := serve(t, to("stall_timeout='100ms'", b.addr()))
	c := r.client("unix")
	b.accept()
	go c.Write(make([]byte, 4<<20))
	select {
	case err := <-r.ended:
		if err == nil || !strings.Contains(err.Error(), "backend: ") {
			t.Errorf("closed with %v", err)
		}
	case <-time.After(patience):
		t.Error("a backend that takes nothing holds its client")
	}
}

func TestProxyAllocatesNothing(t *testing.T) {
	b := newBackend(t, "unix")
	r := serve(t, to("", b.addr()))
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	r.do(func() {
		if _, err := r.loop.Add(fds[1], r, r.session()); err != nil {
			t.Error(err)
		}
	})
	f, err := b.accept().(*net.UnixConn).File() // plain system calls: all that is counted is ours
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	far := int(f.Fd())
	line, buf := []byte("hello\n"), make([]byte, 100)
	pass := func() {
		for _, way := range [][2]int{{fds[0], far}, {far, fds[0]}} {
			unix.Write(way[0], line)
			if n, err := unix.Read(way[1], buf); err != nil || string(buf[:n]) != "hello\n" {
				t.Fatalf("got %q (%v)", buf[:max(n, 0)], err)
			}
		}
	}
	pass()
	if n := testing.AllocsPerRun(200, pass); n != 0 {
		t.Errorf("%v allocations for a line there and back", n)
	}
}
