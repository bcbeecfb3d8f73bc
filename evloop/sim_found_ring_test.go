// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What the simulation of io_uring, or the work on it, has found on real sockets,
// as sim_found_test.go has for epoll.

// A client asks one question, is answered and told goodbye. Its first receive
// is a single one and is used up then: without another the peer's FIN was not
// seen, and the connection lingered for its whole second.
func TestRingSeesFINOfWhoIsAnsweredOnce(t *testing.T) {
	r := newRingRig(t)
	r.onData = func(c *Conn, b []byte) int {
		c.Write(b)
		c.CloseAfterFlush(patience, nil)
		return len(b)
	}
	c, p := r.tcp()
	p.write("question")
	r.gets(p, []byte("question"))
	p.shut()
	arrives(t, int(c.fd), unix.POLLRDHUP)
	start := r.l.Now()
	r.ends(c, nil)
	if d := r.l.Now().Sub(start); d >= lingerTime/2 {
		t.Errorf("ended %v after the peer's FIN", d)
	}
}

// The turn in which a connection turns out to be bulk is still the ring's:
// left to epoll at once, it was read a second budget in it.
func TestRingLeavesWithinTheBudget(t *testing.T) {
	r := newRingRig(t)
	const budget = ringBuffer + 1
	r.use(Config{ReadBudget: budget})
	c, p := r.unix()
	p.write(string(make([]byte, 10*budget)))
	for before := uint64(0); before < 10*budget; before = c.BytesIn() {
		r.l.Post(func() {}) // has epoll asked behind the receive
		r.turn()
		if n := c.BytesIn() - before; n > budget {
			t.Fatalf("%d bytes read in a turn, budget %d", n, budget)
		}
	}
}

// The peer has sent FIN, and epoll, which is to tell when it is gone for good,
// refuses the connection. That ends it, and Closed comes at once.
func TestRingClosesWhomEpollRefuses(t *testing.T) {
	skipWithoutRing(t)
	refused := -1
	l := throughSeam(t, Config{IOUring: &IOUring{}}, func(s *simulation) {
		epollCtl := s.epollCtl
		s.epollCtl = func(op, fd int, events uint32, data token) error {
			if fd == refused {
				return unix.ENOSPC
			}
			return epollCtl(op, fd, events, data)
		}
	})
	r := newRig(t, func(Config) *Loop { return l })
	c, p := r.unix()
	refused = c.FD()
	p.shut()
	r.until("EOF", func() bool { return r.of(c).eof })
	if !r.of(c).closed || !errors.Is(r.of(c).err, unix.ENOSPC) {
		t.Errorf("closed: %v (%v), want %v", r.of(c).closed, r.of(c).err, unix.ENOSPC)
	}
}

// A refuser is not to be restored: it has a message to add first, and finds
// the queue full.
type refuser struct{ *probe }

var errRefused = errors.New("refused")

func (*refuser) Dropped(*Conn, int, int) {}

func (*refuser) Saved(*Conn) ([]byte, error) { return nil, nil }

func (*refuser) Restored(c *Conn, _ []byte) error {
	c.SetOptions(&Options{Queue: 1, Overflow: DropNewest})
	c.Write([]byte("more"))
	return errRefused
}

// A Restore that fails has not touched the connection: what was saved is as
// good as before. The ring sent of its output, which then came twice.
func TestRingSendsNothingBeforeRestored(t *testing.T) {
	r := newRingRig(t)
	ours, p := socketPair(t, unix.SOCK_STREAM)
	c, err := r.l.Add(ours, &refuser{r.probe}, nil)
	if err != nil {
		t.Fatal(err)
	}
	written := r.stick(c)
	var fd int
	var saved parcel
	r.do(func() { fd, saved, err = detach(c) })
	if err != nil {
		t.Fatal(err)
	}
	got := p.read()
	if _, err := restore(r.l, fd, &refuser{r.probe}, nil, nil, saved); !errors.Is(err, errRefused) {
		t.Fatalf("Restore: %v, want %v", err, errRefused)
	}
	r.turn()
	if _, err := restore(r.l, fd, r.probe, nil, nil, saved); err != nil {
		t.Fatal(err)
	}
	r.spin("all output", func() bool { got = append(got, p.read()...); return len(got) >= len(written) })
	if !bytes.Equal(got, written) {
		t.Errorf("peer got %d bytes, want %d; they agree on the first %d", len(got), len(written), commonPrefix(got, written))
	}
}

// The peer of a restored connection had sent FIN before. Nothing can be
// received from it any more, so epoll has to tell when the peer is gone.
func TestRingSeesTheEndOfWhoIsRestoredAfterFIN(t *testing.T) {
	r := newRingRig(t)
	c, p := r.unix()
	p.shut()
	r.until("EOF", func() bool { return r.of(c).eof })
	var fd int
	var saved parcel
	var err error
	r.do(func() { fd, saved, err = detach(c) })
	if err != nil {
		t.Fatal(err)
	}
	c, err = restore(r.l, fd, r.probe, nil, nil, saved)
	if err != nil {
		t.Fatal(err)
	}
	r.turn()
	p.close()
	r.ends(c, nil)
}

// Two enters of a turn each say that epoll has something new. It was asked
// twice, and gave a connection that it serves a second budget.
func TestRingAsksEpollOnceInATurn(t *testing.T) {
	skipWithoutRing(t)
	asked := 0
	l := throughSeam(t, Config{IOUring: &IOUring{}}, func(s *simulation) {
		epollWait := s.epollWait
		s.epollWait = func(evs []unix.EpollEvent, timeout Time) (int, unix.Errno) {
			asked++
			return epollWait(evs, timeout)
		}
	})
	r := newRig(t, func(Config) *Loop { return l })
	r.turn()
	for range 2 {
		fd, err := unix.Eventfd(1, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if _, err := l.Watch(fd, unix.EPOLLIN, ignorer{}); err != nil {
			t.Fatal(err)
		}
		ringOf(l).submit()
	}
	asked = 0
	r.turn()
	if asked != 1 {
		t.Errorf("epoll was asked %d times in a turn, want once", asked)
	}
}

// More events are there than one call of epoll reports, all the time. The ring
// asked until there were none, while timers, streams and output waited. It
// comes back to them now in the next turn, and does not sleep before that.
func TestRingTakesOneArrayOfEventsInATurn(t *testing.T) {
	skipWithoutRing(t)
	asked := 0
	l := throughSeam(t, Config{IOUring: &IOUring{}}, func(s *simulation) {
		s.epollWait = func(evs []unix.EpollEvent, _ Time) (int, unix.Errno) {
			if asked++; asked > 3 {
				return 0, 0
			}
			for i := range evs {
				evs[i].Pad = -1 // the waker's
			}
			return len(evs), 0
		}
	})
	defer l.Close()
	l.Post(func() {})
	for turn := 1; turn <= 4; turn++ {
		if err := l.turn(true); err != nil || asked != turn {
			t.Fatalf("turn %d: epoll was asked %d times in all (%v)", turn, asked, err)
		}
	}
}

// Epoll that cannot be asked ends the loop, as it does without the ring. Its
// events went by unseen, and with them every listener.
func TestRingEndsWithoutEpoll(t *testing.T) {
	skipWithoutRing(t)
	l := throughSeam(t, Config{IOUring: &IOUring{}}, func(s *simulation) {
		s.epollWait = func([]unix.EpollEvent, Time) (int, unix.Errno) { return -1, unix.EBADF }
	})
	defer l.Close()
	l.Post(func() {})
	if err := l.turn(true); !errors.Is(err, unix.EBADF) {
		t.Errorf("turn: %v, want %v", err, unix.EBADF)
	}
}

// An ignorer is a WatchHandler.
type ignorer struct{}

func (ignorer) Ready(*Watch, uint32) {}

// A connection is paused when its peer sends much, and detached before the ring
// has stopped receiving: with more input than was taken for possible, so that
// Restore refused it.
func TestRingDetachCarriesMuch(t *testing.T) {
	r := newRingRig(t)
	c, p := r.unix()
	r.turn()
	p.write("light\n")
	r.until("input", func() bool { return c.BytesIn() > 0 })
	c.Pause()
	unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4<<20)
	sent := bytes.Repeat([]byte("0123456789"), 100_000)
	sent = sent[:p.offer(sent)]
	r.turn()
	if n := len(ringOf(r.l).intakes[c.slot].held); n <= len(r.l.rbuf) {
		t.Fatalf("the ring holds %d bytes, want more than one read", n)
	}
	fd, saved, err := detach(c)
	if err != nil {
		t.Fatal(err)
	}
	c, err = restore(r.l, fd, r.probe, nil, nil, saved)
	if err != nil {
		t.Fatal(err)
	}
	c.Resume()
	r.until("all of it", func() bool { return len(r.of(c).got) >= len(sent) })
	if !bytes.Equal(r.of(c).got, sent) {
		t.Errorf("got %d bytes, want %d; they agree on the first %d", len(r.of(c).got), len(sent), commonPrefix(r.of(c).got, sent))
	}
}

// Output fails while more input than is shown at once has left the socket. The
// socket being empty was taken for the end of it.
func TestRingShowsAllInputBeforeBrokenOutput(t *testing.T) {
	r := newRingRig(t)
	r.use(Config{ReadBudget: 4 * readSize})
	c, p := r.unix()
	r.turn()
	p.write("light\n")
	r.until("input", func() bool { return c.BytesIn() > 0 })
	unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4<<20)
	unix.Shutdown(p.fd, unix.SHUT_RD)
	sent := bytes.Repeat([]byte("0123456789"), readSize*3/20)
	if n := p.offer(sent); n < len(sent) {
		t.Fatalf("the socket takes %d bytes", n)
	}
	r.l.enter()
	c.Write([]byte("nobody reads this"))
	r.l.leave()
	r.ends(c, unix.EPIPE)
	if got := len(r.of(c).got) - len("light\n"); got != len(sent) {
		t.Errorf("Data got %d bytes, want %d", got, len(sent))
	}
}

// All that waits for room is dropped. The connection went on to wait, was left
// to epoll like that, and what was written next waited as well.
func TestRingDoesNotWaitForRoomForNothing(t *testing.T) {
	r := newRingRig(t)
	c, _ := r.unix()
	r.turn()
	r.clog(c)
	r.do(func() {
		c.SetOptions(&Options{Overflow: DropOldest})
		c.Write([]byte("no room"))
	})
	r.turn()
	if c.edge&edgeStuck == 0 {
		t.Fatal("does not wait for room")
	}
	r.do(func() { r.l.SetLimits(0, 1) })
	if s := ringOf(r.l).intakes[c.slot]; c.Queued() > 0 || c.edge&edgeStuck != 0 || s.watch != watchNone {
		t.Errorf("%d bytes queued, waits for room: %t, watched for %d; want nothing", c.Queued(), c.edge&edgeStuck != 0, s.watch)
	}
}

// Bytes that the ring has taken are not the kernel's any more, which says that
// there is nothing, and Data has not seen them yet. Their sender was in time.
func TestRingKnowsWhatHasCome(t *testing.T) {
	r := newRingRig(t)
	c, p := r.tcp()
	c.SetOptions(&Options{IdleTimeout: time.Second})
	r.turn()
	p.write("in time")
	for u := ringOf(r.l); !u.came(c); {
		u.submit() // as another connection's end does, in the middle of a turn
	}
	r.later(time.Minute)
	r.l.expire()
	r.turn()
	if h := r.of(c); h.closed || string(h.got) != "in time" {
		t.Errorf("Data(%q), closed: %t (%v)", h.got, h.closed, h.err)
	}
}

// What the ring holds of a connection that was paused waits for the ready list,
// and its sender was in time.
func TestRingHeldIsNoIdleness(t *testing.T) {
	r := newRingRig(t)
	c, p := r.tcp()
	c.SetOptions(&Options{IdleTimeout: time.Second})
	r.turn()
	c.Pause()
	p.write("in time")
	r.spin("held input", func() bool { return c.held > 0 })
	c.Resume()
	r.later(time.Minute)
	r.l.expire()
	r.turn()
	if h := r.of(c); h.closed || string(h.got) != "in time" {
		t.Errorf("Data(%q), closed: %t (%v)", h.got, h.closed, h.err)
	}
}
