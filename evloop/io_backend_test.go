// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/evloop/evlooptest"
)

// The conformance suite: what a Loop promises, checked against the real
// kernel, once for each back end. A test drives the loop turn by turn on its
// own goroutine, so that it can say what must have happened by when
// without a sleep. That nothing happens is only asserted once poll(2) says
// that its cause has arrived.

// backends are the ways to make a loop that the suite is run for.
var backends = []struct {
	name string
	open func(Config) (*Loop, error)
}{
	{"epoll", newEpolled},
	{"io_uring", newRinged},
}

// eachBackend runs a promise as a subtest for each back end. The test that
// calls it is named TestLoop..., so that -run ^TestLoop is the suite.
func eachBackend(t *testing.T, promise func(*rig)) {
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			if b.name == "io_uring" {
				skipWithoutRing(t)
			}
			promise(newRig(t, func(cfg Config) *Loop {
				l, err := b.open(cfg)
				if err != nil {
					t.Fatal(err)
				}
				return l
			}))
		})
	}
}

const patience = evlooptest.Patience

// A rig is a loop under test, with a probe as the handler of its connections.
type rig struct {
	*testing.T
	*probe
	newLoop func(Config) *Loop
	l       *Loop
}

func newRig(t *testing.T, newLoop func(Config) *Loop) *rig {
	r := &rig{T: t, probe: newProbe(t), newLoop: newLoop}
	r.use(Config{})
	return r
}

// use replaces the loop by one with another configuration.
func (r *rig) use(cfg Config) {
	if r.l != nil {
		r.l.Close()
	}
	l := r.newLoop(cfg)
	r.l = l
	r.Cleanup(func() {
		l.Close()
		if s := l.Stats(); s.Conns != 0 || s.Queued != 0 {
			r.Errorf("after Close: %d connections, %d bytes queued, want none", s.Conns, s.Queued)
		}
		r.allClosed()
	})
}

// turn serves what is there, without waiting, and hands over what a back end
// would leave for the beginning of the next turn.
func (r *rig) turn() {
	r.Helper()
	if err := r.l.turn(false); err != nil {
		r.Fatal(err)
	}
	r.l.be.offer()
}

// do runs f as a callback of the loop.
func (r *rig) do(f func()) {
	r.Helper()
	done := false
	r.l.Post(func() { f(); done = true })
	r.spin("a posted function", func() bool { return done })
}

// A guard is a timer that ends a wait which the loop alone would never end.
type guard struct{ fired bool }

func (g *guard) Expired(*Loop, Timer) { g.fired = true }

// until takes turns, asleep between them, until cond holds. So it hangs, and
// is ended by its guard, when the loop has forgotten something.
func (r *rig) until(what string, cond func() bool) {
	r.Helper()
	g := &guard{}
	id := r.l.Schedule(Timer{Deadline: monotonic().Add(patience), Handler: g})
	defer r.l.Cancel(id)
	for !cond() {
		if err := r.l.turn(true); err != nil {
			r.Fatal(err)
		}
		r.l.be.offer()
		if g.fired {
			r.Fatalf("waited in vain for %s", what)
		}
	}
}

// spin takes turns without sleeping until cond holds, which may itself move
// the peers.
func (r *rig) spin(what string, cond func() bool) {
	r.Helper()
	for end := time.Now().Add(patience); !cond(); {
		r.turn()
		if time.Now().After(end) {
			r.Fatalf("waited in vain for %s", what)
		}
	}
}

// add adopts fd.
func (r *rig) add(fd int) *Conn {
	r.Helper()
	c, err := r.l.Add(fd, r.probe, nil)
	if err != nil {
		unix.Close(fd)
		r.Fatal(err)
	}
	r.l.be.offer()
	return c
}

// tcp returns a TCP connection of the loop and its peer.
func (r *rig) tcp() (*Conn, *peer) {
	r.Helper()
	ours, p := tcpPair(r.T)
	return r.add(ours), p
}

// unix returns a Unix stream of the loop and its peer.
func (r *rig) unix() (*Conn, *peer) {
	r.Helper()
	ours, p := socketPair(r.T, unix.SOCK_STREAM)
	return r.add(ours), p
}

// stick writes to c until its peer, which does not read, makes it queue. TCP
// offers a larger window now and then, so much more is queued there than the
// two sockets can ever take.
func (r *rig) stick(c *Conn) (written []byte) {
	r.Helper()
	unix.SetsockoptInt(c.FD(), unix.SOL_SOCKET, unix.SO_SNDBUF, 4096)
	line := bytes.Repeat([]byte("the peer does not want this now\n"), 32)
	enough := 16 << 10
	if c.kind&kindTCP != 0 {
		enough = 512 << 10
	}
	roomy := *c.opts // and room for what the test writes behind it
	roomy.Queue = max(c.opts.queue(), enough)
	c.SetOptions(&roomy)
	r.spin("a stuck peer", func() bool {
		r.do(func() {
			for range 16 {
				c.Write(line)
				written = append(written, line...)
			}
		})
		return c.Queued() >= enough
	})
	return written
}

// clog fills c's socket behind the loop's back: its next send gets EAGAIN.
func (r *rig) clog(c *Conn) (written []byte) {
	r.Helper()
	unix.SetsockoptInt(c.FD(), unix.SOL_SOCKET, unix.SO_SNDBUF, 4096)
	junk := make([]byte, 1024)
	for {
		n, err := unix.SendmsgN(c.FD(), junk, nil, nil, unix.MSG_DONTWAIT)
		if err == unix.EAGAIN {
			return written
		}
		if err != nil {
			r.Fatal(err)
		}
		written = append(written, junk[:n]...)
	}
}

// gets reads from p, turn by turn, until it has what was wanted.
func (r *rig) gets(p *peer, want []byte) {
	r.Helper()
	var got []byte
	r.spin("output", func() bool {
		got = append(got, p.read()...)
		return len(got) >= len(want)
	})
	if string(got) != string(want) {
		r.Errorf("peer got %d bytes, want %d; they agree on the first %d", len(got), len(want), commonPrefix(got, want))
	}
}

// lives fails the test if c has ended. when says what has happened before.
func (r *rig) lives(c *Conn, when string) {
	r.Helper()
	if h := r.of(c); h.closed {
		r.Fatalf("Closed(%v) %s", h.err, when)
	}
}

// ends waits for c's Closed and checks its error.
func (r *rig) ends(c *Conn, want error) {
	r.Helper()
	r.until("Closed", func() bool { return r.of(c).closed })
	if got := r.of(c).err; !errors.Is(got, want) || (want == nil && got != nil) {
		r.Errorf("Closed(%v), want %v", got, want)
	}
}
