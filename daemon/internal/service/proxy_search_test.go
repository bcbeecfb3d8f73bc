// SPDX-License-Identifier: Apache-2.0

package service

import (
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/evloop"
	"penstock/evloop/evlooptest"
)

// A backend that comes late gets what the client has sent meanwhile, and the status names
// the service until then.
func TestProxyWaitsForBackend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "late")
	r := serve(t, to("", path))
	c := r.client("tcp")
	say2(t, c, "early")
	r.log.wait(t, "backend does not answer address="+path, 1)
	r.do(func() {
		if !r.unanswered() || r.changes != 1 {
			t.Errorf("without a backend the status says so: %v, after %d changes", r.unanswered(), r.changes)
		}
	})
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	s := (&backend{t, ln}).accept()
	wantBytes(t, s, "early")
	r.log.wait(t, "backend answers again address="+path, 1)
	r.do(func() {
		if r.unanswered() || r.changes != 2 {
			t.Errorf("with a backend the status says there is none: %v, after %d changes", r.unanswered(), r.changes)
		}
	})
}

// When the time of "wait" is over, the client is told by a reset.
func TestProxyGivesUp(t *testing.T) {
	for _, wait := range []string{"0s", "100ms"} {
		r := serve(t, to("wait='"+wait+"'", filepath.Join(t.TempDir(), "none")))
		c := r.client("tcp")
		if n, err := c.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("wait %s: read %d bytes, %v; want %v", wait, n, err, unix.ECONNRESET)
		}
		r.wantEnd(ErrNoBackend)
		if n := r.log.count("backend does not answer"); n != 1 {
			t.Errorf("wait %s: logged %d times", wait, n)
		}
	}
}

// The first address that answers serves: others refuse, or say nothing.
func TestProxyNextAddress(t *testing.T) {
	b := newBackend(t, "tcp")
	refuses := newBackend(t, "tcp")
	refuses.ln.Close()
	r := serve(t, to("connect_timeout='50ms'", filepath.Join(t.TempDir(), "none"), refuses.addr(), deaf(t), b.addr()))
	c := r.client("unix")
	say2(t, c, "x")
	wantBytes(t, b.accept(), "x")
}

// deaf returns an address that does not answer: its backlog is full.
func deaf(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // one is in the backlog, and one may be before it
		c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(c) })
		if err := unix.Connect(c, sa); err != nil && err != unix.EINPROGRESS {
			t.Fatal(err)
		}
		unix.Poll([]unix.PollFd{{Fd: int32(c), Events: unix.POLLOUT}}, 20)
	}
	return localAddr(fd).String()
}

// A client that leaves during the search takes it along.
func TestProxyClientLeavesEarly(t *testing.T) {
	r := serve(t, to("", deaf(t)))
	r.client("unix")
	r.do(func() {
		for c := range r.loop.Conns() {
			c.Abort(nil)
		}
	})
	r.wantEnd(evloop.ErrAborted)
	r.do(func() {
		if n := r.loop.Stats().Timers; n != 0 {
			t.Errorf("%d timers are left", n)
		}
	})
}

// However many clients wait for a backend with many addresses, a turn makes few attempts.
func TestProxyAttemptsOfATurn(t *testing.T) {
	const clients = 200
	dir := t.TempDir()
	var none []string
	for i := range 8 {
		none = append(none, fmt.Sprint(dir, "/", i))
	}
	r := serve(t, to("", none...))
	for range clients {
		r.client("unix")
	}
	p := r.svc.(*proxy)
	most, turns, enough := 0, 0, make(chan bool)
	var look func() // in each turn
	var first, before uint64
	look = func() {
		if turns++; turns > 1 {
			most = max(most, int(p.dials-before))
		} else {
			first = p.dials
		}
		if before = p.dials; before > first+3*clients*uint64(len(none)) { // some rounds
			close(enough)
			return
		}
		r.loop.Post(look)
	}
	r.loop.Post(look)
	select {
	case <-enough:
	case <-time.After(patience):
		t.Fatal("the attempts do not go on")
	}
	if most < 2 || most > 64 {
		t.Errorf("%d attempts in a turn, want some and 64 at most", most)
	}
}

// A client that is reset while it waits, or has closed a Unix socket, is not waited for. One
// that has shut its side is.
func TestProxyClientLeavesWhileWaiting(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		r := serve(t, to("wait='1h'", filepath.Join(t.TempDir(), "none")))
		c := r.client(network)
		say2(t, c, "early")
		if tcp, ok := c.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		r.log.wait(t, "backend does not answer", 1)
		c.Close()
		select {
		case <-r.ended:
		case <-time.After(patience):
			t.Errorf("%s: a client that is gone is waited for", network)
		}
		r.do(func() {
			if n := r.loop.Stats().Timers; n != 0 {
				t.Errorf("%s: %d timers are left", network, n)
			}
		})
	}
	path := filepath.Join(t.TempDir(), "late")
	r := serve(t, to("wait='1h'", path))
	c := r.client("tcp")
	say2(t, c, "question")
	shut(t, c)
	r.log.wait(t, "backend does not answer", 1)
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	s := (&backend{t, ln}).accept()
	if got, err := io.ReadAll(s); string(got) != "question" || err != nil {
		t.Errorf("the backend got %q, %v", got, err)
	}
	say2(t, s, "answer")
	s.Close()
	if got, err := io.ReadAll(c); string(got) != "answer" || err != nil {
		t.Errorf("the client got %q, %v", got, err)
	}
}

// What a client has said before it closed its Unix socket reaches a backend, however early
// that was.
func TestProxyHurriedClient(t *testing.T) {
	b := newBackend(t, "unix")
	r := serve(t, to("wait='1h'", filepath.Join(t.TempDir(), "none"), b.addr()))
	fd, c := evlooptest.Pair(t, "unix")
	say2(t, c, "word")
	c.Close()
	r.do(func() {
		if _, err := r.loop.Add(fd, r, r.session()); err != nil {
			t.Error(err)
		}
	})
	s := b.accept()
	if got, err := io.ReadAll(s); string(got) != "word" || err != nil {
		t.Errorf("the backend got %q, %v", got, err)
	}
	s.Close()
}

// A search that has found its backend in a later round is used again for the next client,
// and begins anew: with the first address, and the shortest pause after a round.
func TestProxySearchBeginsAnew(t *testing.T) {
	dir := t.TempDir()
	none, late := filepath.Join(dir, "none"), filepath.Join(dir, "late")
	r := serve(t, to("wait='1h'", none, late))
	r.client("unix")
	r.log.wait(t, "backend does not answer", 1) // at the end of the first round
	ln, err := net.Listen("unix", late)
	if err != nil {
		t.Fatal(err)
	}
	(&backend{t, ln}).accept()
	ln.Close()
	fd, _ := evlooptest.Pair(t, "unix")
	r.do(func() {
		p := r.svc.(*proxy)
		spare, dials := p.spare, p.dials
		if spare == nil || spare.round == 0 || spare.err == nil || spare.pause == firstPause {
			t.Errorf("the first search has ended as %+v, want it in a later round", spare)
			return
		}
		c, err := r.loop.Add(fd, r, r.session())
		if err != nil {
			t.Error(err)
			return
		}
		s, want := pairOf(c).search, r.loop.Now().Add(time.Hour)
		if s != spare || p.dials != dials+1 || s.next != 1 || s.last.Path != none || s.round != 0 || s.pause != firstPause || s.until != want {
			t.Errorf("after %d attempts the second search is %+v, want the first one, at its first address", p.dials-dials, s)
		}
	})
}

// What has come of an attempt on loopback is known when it begins. The kernel may put its
// part off when it is busy, so some attempts have to do.
func TestProxyKnowsAtOnceOnLoopback(t *testing.T) {
	b := newBackend(t, "tcp")
	r := serve(t, to("", b.addr()))
	for range 100 {
		fd, _ := evlooptest.Pair(t, "unix")
		known := false
		r.do(func() {
			c, err := r.loop.Add(fd, r, r.session())
			if err != nil {
				t.Error(err)
				return
			}
			known = pairOf(c).backend != nil
		})
		b.accept()
		if known {
			return
		}
	}
	t.Error("no attempt of a hundred was known to have succeeded in the turn in which it began")
}
