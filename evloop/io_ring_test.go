// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"bytes"
	"errors"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/evloop/internal/uring"
)

// These cases are about what only the ring has. It passes the conformance suite as well.

// newRinged makes a loop on io_uring and does not take epoll for an answer.
func newRinged(cfg Config) (*Loop, error) {
	if cfg.IOUring == nil {
		cfg.IOUring = &IOUring{}
	}
	l, err := New(cfg)
	if err == nil && l.Fallback() != nil {
		l.Close()
		return nil, l.Fallback()
	}
	return l, err
}

// newEpolled makes a loop on epoll, whatever a case says about the ring.
func newEpolled(cfg Config) (*Loop, error) {
	cfg.IOUring = nil
	return New(cfg)
}

// skipWithoutRing skips a test of the ring where there is none: on an older
// kernel, under an emulator of system calls, in a sandbox.
func skipWithoutRing(t *testing.T) {
	t.Helper()
	if err := ProbeIOUring(); err != nil {
		t.Skipf("this kernel refuses: %v", err)
	}
}

func newRingRig(t *testing.T) *rig {
	t.Helper()
	skipWithoutRing(t)
	return newRig(t, func(cfg Config) *Loop {
		l, err := newRinged(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return l
	})
}

// A loop that may not or cannot have a ring serves by epoll and says why.
func TestFallback(t *testing.T) {
	killed := errors.New("killed")
	tests := []struct {
		name string
		cfg  Config
		want error
	}{
		{"epoll was asked for", Config{}, nil},
		{"the probe says no", Config{IOUring: &IOUring{Probe: func() error { return killed }}}, killed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if runtime.GOARCH == "arm" && tt.want != nil {
				tt.want = uring.ErrUnsupported // without asking the kernel, or anybody
			}
			l, err := New(tt.cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if _, epolls := l.be.(*epoll); !errors.Is(l.Fallback(), tt.want) || !epolls {
				t.Errorf("epoll: %t, fallback %v; want true, %v", epolls, l.Fallback(), tt.want)
			}
		})
	}
}

func TestProbedTakesRing(t *testing.T) {
	newRingRig(t) // or skips
	asked := 0
	l, err := New(Config{IOUring: &IOUring{Probe: func() error { asked++; return nil }}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, rings := l.be.(*ring); !rings || l.Fallback() != nil || asked != 1 {
		t.Errorf("ring: %t, fallback %v, asked %d times; want true, none, once", rings, l.Fallback(), asked)
	}
}

// One line to many receivers is one entry of the kernel, and stored once in
// what the kernel is shown.
func TestRingFanOutInOneEnter(t *testing.T) {
	r := newRingRig(t)
	const receivers = 500
	var conns []*Conn
	var peers []*peer
	for range receivers {
		c, p := r.unix()
		conns, peers = append(conns, c), append(peers, p)
	}
	r.turn()
	line := NewMessage([]byte(strings.Repeat("l", 1000) + "\n"))
	used := 0
	r.l.Post(func() {
		for _, c := range conns {
			c.Send(line)
		}
	})
	before := ringOf(r.l).r.Enters()
	if err := r.l.turn(false); err != nil { // runs the function
		t.Fatal(err)
	}
	u := ringOf(r.l)
	between := u.r.Enters()
	if got := len(u.out); got != receivers {
		t.Errorf("%d connections with output at the end of the turn, want %d", got, receivers)
	}
	r.l.be.offer()
	if got := u.r.Enters() - between; got != 1 || between-before != 1 {
		t.Errorf("%d enters for the turn and %d for the output, want one each", between-before, got)
	}
	if used = u.batch.used; used != 0 {
		t.Errorf("%d bytes of the arena in use after the results", used)
	}
	for _, p := range peers {
		if got := p.read(); !bytes.Equal(got, line.Bytes()) {
			t.Fatalf("a receiver got %q", got)
		}
	}
}

func TestBatchSharesLine(t *testing.T) {
	var b batch
	if err := b.open(); err != nil {
		t.Fatal(err)
	}
	defer b.close()
	m, other := NewMessage([]byte("line\n")), NewMessage([]byte("other\n"))
	var first, second, third uring.SQE
	b.fill(&first, [][]byte{m.buf}, m.Len(), m)
	b.fill(&second, [][]byte{m.buf}, m.Len(), m)
	b.fill(&third, [][]byte{other.buf}, other.Len(), other)
	if first.Addr != second.Addr || first.Addr == third.Addr {
		t.Errorf("addresses %#x, %#x, %#x; want the first two alike", first.Addr, second.Addr, third.Addr)
	}
	rest := m.buf[2:]
	b.fill(&second, [][]byte{rest}, len(rest), nil)
	if second.Addr == third.Addr || second.Len != 3 {
		t.Errorf("the rest of a message at %#x, %d bytes; want a place of its own", second.Addr, second.Len)
	}
}

// The least memory a ring takes and more senders than it has buffers: what
// finds no buffer waits in its socket, and nobody is forgotten.
func TestRingRunsOutOfBuffers(t *testing.T) {
	r := newRingRig(t)
	r.use(Config{IOUring: &IOUring{Memory: 1}})
	const senders, size = 50, 40_000
	sent := bytes.Repeat([]byte("0123456789"), size/10)
	var conns []*Conn
	for range senders {
		c, p := r.unix()
		p.write(string(sent))
		conns = append(conns, c)
	}
	r.until("all bytes", func() bool {
		for _, c := range conns {
			if c.BytesIn() < size {
				return false
			}
		}
		return true
	})
	for _, c := range conns {
		if !bytes.Equal(r.of(c).got, sent) {
			t.Fatalf("got %d bytes, want %d; they agree on the first %d", len(r.of(c).got), size, commonPrefix(r.of(c).got, sent))
		}
	}
}

// A paused connection holds what came within one turn, which is charged to it
// and bounded, and no shared buffer; the rest waits in the socket.
func TestRingHoldsLittle(t *testing.T) {
	r := newRingRig(t)
	c, p := r.unix()
	c.Pause()
	unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4<<20)
	junk := make([]byte, 1<<20)
	offered := 0
	for range 50 {
		offered += p.offer(junk)
		r.turn()
	}
	s := &ringOf(r.l).intakes[c.slot]
	if n := len(s.held); n == 0 || n > usualRingMemory || offered <= 2*usualRingMemory && n == offered {
		t.Errorf("%d bytes held of %d", n, offered)
	}
	if got := r.l.Stats().Queued; got < int64(len(s.held)) {
		t.Errorf("%d bytes charged for %d that are held", got, len(s.held))
	}
	if s.receives != recvIdle {
		t.Errorf("the receive is in state %d, want idle", s.receives)
	}
	c.Resume()
	r.until("all of it", func() bool { return int(c.BytesIn()) == offered })
	if s := &ringOf(r.l).intakes[c.slot]; s.held != nil {
		t.Errorf("%d bytes still held", len(s.held))
	}
}

// What is held counts for the bound of the loop. The connection that holds the most
// pays, as with kept input.
func TestRingHeldPays(t *testing.T) {
	r := newRingRig(t)
	const bound = 100_000
	r.use(Config{Memory: bound})
	for i := range 20 {
		c, p := r.unix()
		c.Pause()
		p.write(strings.Repeat("x", 10_000+1000*i))
	}
	r.spin("all input", func() bool {
		if got := r.l.Stats().Queued; got > bound {
			t.Fatalf("%d bytes charged, bound %d", got, bound)
		}
		return r.l.Stats().Conns < 15
	})
	for c, h := range r.probe.conns {
		if h.closed && !errors.Is(h.err, ErrMemory) {
			t.Errorf("the connection in slot %d got %v, want ErrMemory", c.slot, h.err)
		}
	}
	if n := r.l.Stats().Conns; n < 2 {
		t.Errorf("%d connections left", n)
	}
}

// Output is offered at the end of a turn. If that reaches the bound over all
// before, what the kernel takes is nobody's debt.
func TestRingOffersBeforeAnybodyPays(t *testing.T) {
	r := newRingRig(t)
	r.use(Config{Memory: 100_000})
	const conns, size = 50, 4000
	for range conns {
		r.unix()
	}
	r.turn()
	for c := range r.l.Conns() {
		r.do(func() { c.Write(make([]byte, 100)) }) // light
	}
	for c := range r.l.Conns() {
		r.l.Post(func() { c.Write(make([]byte, size)) })
	}
	r.turn()
	if n := r.l.Stats().Conns; n != conns {
		t.Errorf("%d of %d connections left, although the kernel takes all output", n, conns)
	}
}

// Bytes that have left the kernel and were not delivered go with the
// connection.
func TestRingDetachCarriesHeld(t *testing.T) {
	r := newRingRig(t)
	c, p := r.unix()
	c.Pause()
	p.write("one ")
	r.until("held bytes", func() bool { return ringOf(r.l).intakes[c.slot].held != nil })
	p.write("two ")
	fd, saved, err := detach(c)
	if err != nil {
		t.Fatal(err)
	}
	p.write("three")
	r.use(Config{})
	again, err := restore(r.l, fd, r.probe, nil, nil, saved)
	if err != nil {
		t.Fatal(err)
	}
	again.Resume()
	r.until("all of it", func() bool { return string(r.of(again).got) == "one two three" })
	if again.BytesIn() != 13 {
		t.Errorf("BytesIn %d, want 13", again.BytesIn())
	}
}

// A reset that the ring has heard of, and a paused connection has not, goes with
// it: the kernel would call it an orderly end by then.
func TestRingDetachCarriesReset(t *testing.T) {
	for _, seen := range []bool{false, true} {
		r := newRingRig(t)
		c, p := r.tcp()
		r.turn()
		c.Pause()
		p.reset()
		arrives(t, c.FD(), unix.POLLHUP)
		if seen {
			r.turn()
		}
		fd, saved, err := detach(c)
		if err != nil {
			t.Fatal(err)
		}
		r.use(Config{})
		again, err := restore(r.l, fd, r.probe, nil, nil, saved)
		if err != nil {
			t.Fatal(err)
		}
		again.Resume()
		r.ends(again, unix.ECONNRESET)
		if r.of(again).eof {
			t.Errorf("seen %t: EOF before the reset", seen)
		}
	}
}

// The loop may be closed on another thread than the ring's; requests then end
// some time after the ring, and the memory that they write to stays.
func TestRingClosedElsewhere(t *testing.T) {
	r := newRingRig(t)
	c, p := r.tcp()
	done := make(chan error)
	go func() { done <- r.l.Run() }()
	r.l.Post(func() { c.Write([]byte("hello")) })
	arrives(t, p.fd, unix.POLLIN)
	p.read()
	r.l.Stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	r.l.Close()
	arrives(t, p.fd, unix.POLLIN) // FIN or RST
	if !r.of(c).closed {
		t.Error("not closed")
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	if b := ringOf(r.l).r.Bytes(0, 1); cap(b) != 1 || b[0] > 'z' { // a panic if it is unmapped
		t.Errorf("the first buffer holds %q", b)
	}
}

// A client that sends much is left to epoll, with the output that was about to go out.
// Nothing of either direction is lost or moved.
func TestRingLeavesBulk(t *testing.T) {
	r := newRingRig(t)
	r.onData = func(c *Conn, b []byte) int { c.Write(b); return len(b) }
	light, q := r.unix()
	c, p := r.tcp()
	sent := bytes.Repeat([]byte("0123456789"), 30_000)
	var got []byte
	for at := 0; len(got) < len(sent); {
		at += p.offer(sent[at:])
		q.write("?")
		r.turn()
		got = append(got, p.read()...)
	}
	if !bytes.Equal(got, sent) {
		t.Errorf("the echo agrees on the first %d bytes of %d", commonPrefix(got, sent), len(sent))
	}
	if c.edge&edgeBulk == 0 || light.edge&edgeBulk != 0 {
		t.Errorf("bulk %t and %t, want only the one that sends much", c.edge&edgeBulk != 0, light.edge&edgeBulk != 0)
	}
}

// ringOf returns the ring of a loop, or nil.
func ringOf(l *Loop) *ring {
	u, _ := l.be.(*ring)
	return u
}
