// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What the simulation has found, each told again as its shortest story and on
// real sockets, so that the reason has a name.

func foundRig(t *testing.T) *rig {
	return newRig(t, func(cfg Config) *Loop {
		l, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return l
	})
}

// timerFunc is a TimerHandler.
type timerFunc func(l *Loop, t Timer)

func (f timerFunc) Expired(l *Loop, t Timer) { f(l, t) }

// Two timers are due, and the first arms a third whose deadline lies before
// that of the second. The third came in the place of the second, which could
// so be kept waiting for ever; it belongs to the next turn.
func TestTimerArmedInThePastDisplacesNobody(t *testing.T) {
	r := foundRig(t)
	var fired []int
	note := timerFunc(func(_ *Loop, t Timer) { fired = append(fired, t.Kind) })
	past := r.l.Now()
	r.l.Schedule(Timer{Deadline: past + 1, Kind: 1, Handler: timerFunc(func(l *Loop, t Timer) {
		note(l, t)
		l.Schedule(Timer{Deadline: past - 1, Kind: 3, Handler: note})
	})})
	r.l.Schedule(Timer{Deadline: past + 2, Kind: 2, Handler: note})
	for monotonic() <= past+2 { // the clock moves by itself, and soon
		continue
	}
	r.turn()
	if len(fired) != 2 || fired[1] != 2 {
		t.Errorf("first turn: timers %v fired, want [1 2]", fired)
	}
	r.until("the third timer", func() bool { return len(fired) == 3 })
}

// A full queue holds reading back under Pause. SetOptions with a policy that
// reads on has to go on with what came meanwhile: the kernel has reported it
// already and will not do so again.
func TestSetOptionsGoesOnReading(t *testing.T) {
	r := foundRig(t)
	c, p := r.unix()
	c.SetOptions(&Options{Overflow: Pause})
	for !c.Full() {
		r.stick(c)
	}
	p.write("hello")
	for range 3 {
		r.turn()
	}
	if got := r.of(c).got; len(got) > 0 {
		t.Fatalf("Data(%q) although the queue is full", got)
	}
	r.do(func() { c.SetOptions(&Options{Overflow: DropNewest}) })
	r.until("what came meanwhile", func() bool { return string(r.of(c).got) == "hello" })
}

// SetLimits with less memory than is queued collects at once, and not only
// when somebody queues the next message.
func TestLoweredMemoryBoundIsCollected(t *testing.T) {
	r := foundRig(t)
	c, _ := r.unix()
	c.SetOptions(&Options{Queue: 1 << 20, Overflow: DropOldest})
	r.stick(c)
	r.do(func() { r.l.SetLimits(0, 4<<10) })
	if got := r.l.Stats().Queued; got > 4<<10 {
		t.Errorf("%d bytes are queued over a bound of %d", got, 4<<10)
	}
	if r.of(c).messages == 0 {
		t.Error("Dropped was not called")
	}
}

// The farewell of a client that is cut for its queue is output too: it must
// not lift the loop over its memory bound.
func TestFarewellStaysUnderTheMemoryBound(t *testing.T) {
	r := foundRig(t)
	c, _ := r.unix()
	r.stick(c)
	bound := r.l.Stats().Queued + 100
	r.do(func() {
		r.l.SetLimits(0, bound)
		c.SetOptions(&Options{Queue: 1, Overflow: Disconnect, Farewell: make([]byte, 64<<10), FarewellTimeout: time.Minute})
		c.Write([]byte("too much"))
		if got := r.l.Stats().Queued; got > bound {
			t.Errorf("%d bytes are queued over a bound of %d", got, bound)
		}
	})
}

// CloseAfterFlush was given a reason; that the peer then breaks off is not a
// better one.
func TestReasonOutlivesTheFlush(t *testing.T) {
	r := foundRig(t)
	c, p := r.unix()
	r.stick(c)
	reason := errors.New("told to leave")
	r.do(func() { c.CloseAfterFlush(time.Minute, reason) })
	p.close()
	r.ends(c, reason)
}

// A peer that shuts its socket for reading only makes output fail, while
// input goes on. The connection ends when what came is read: a short read is
// not that moment, because no further event says when it is.
func TestBrokenOutputEndsBehindAShortRead(t *testing.T) {
	r := foundRig(t)
	c, p := r.unix()
	r.onData = func(c *Conn, b []byte) int {
		if c.Write(b) {
			p.write("second")
		}
		return len(b)
	}
	unix.Shutdown(p.fd, unix.SHUT_RD)
	p.write("first")
	r.ends(c, unix.EPIPE)
	if got := string(r.of(c).got); got != "firstsecond" {
		t.Errorf("Data got %q before the end, want %q", got, "firstsecond")
	}
}

// greeter writes more than a socket takes as soon as it is restored.
type greeter struct {
	*probe
	n int
}

func (*greeter) Saved(*Conn) ([]byte, error) { return nil, nil }

func (g *greeter) Restored(c *Conn, _ []byte) error {
	g.conns[c] = &history{opened: true}
	c.SetOptions(&Options{Queue: 1, Overflow: DropNewest})
	c.Write(make([]byte, g.n)) // gathered
	c.Write([]byte("dropped")) // asks the kernel first, which arms EPOLLOUT
	return nil
}

// Restored comes when epoll knows the descriptor: what it writes may need
// EPOLLOUT before it returns.
func TestRestoredMayWriteMoreThanFits(t *testing.T) {
	r := foundRig(t)
	ours, p := socketPair(t, unix.SOCK_STREAM)
	g := &greeter{probe: r.probe, n: 1 << 20}
	c, err := r.l.Add(ours, g, nil)
	if err != nil {
		t.Fatal(err)
	}
	var fd int
	var saved parcel
	r.do(func() { fd, saved, err = detach(c) })
	if err != nil {
		t.Fatal(err)
	}
	r.ends(c, ErrDetached)
	c, err = restore(r.l, fd, g, nil, nil, saved)
	if err != nil {
		t.Fatal(err)
	}
	if c.Queued() == 0 || r.of(c).closed {
		t.Fatalf("%d bytes wait, closed: %v (%v)", c.Queued(), r.of(c).closed, r.of(c).err)
	}
	r.gets(p, make([]byte, g.n))
}

// What a connection owes for the lines in its queue is the same behind a
// restart. Each line came back as a message of its own, at more than twice the
// charge, and a connection that had owed little paid for others.
func TestRestoreOwesNoMore(t *testing.T) {
	r := foundRig(t)
	c, _ := r.unix()
	r.stick(c)
	o := &Options{Queue: 1 << 20, Overflow: DropOldest}
	c.SetOptions(o)
	r.do(func() {
		for range 500 {
			c.Write([]byte("a line\n"))
		}
	})
	before := c.debt()
	fd, saved, err := detach(c)
	if err != nil {
		t.Fatal(err)
	}
	c, err = restore(r.l, fd, &greeter{probe: r.probe}, nil, o, saved)
	if err != nil {
		t.Fatal(err)
	}
	if after := c.debt(); after > before {
		t.Errorf("owes %d bytes after Restore, and owed %d", after, before)
	}
}

// A connection whose exemption ends pays for what is queued already.
func TestExemptionEndsUnderTheMemoryBound(t *testing.T) {
	r := foundRig(t)
	c, _ := r.unix()
	c.SetOptions(&Options{Queue: 1 << 20, Exempt: true})
	r.stick(c)
	r.do(func() { r.l.SetLimits(0, 4<<10) })
	if got := r.l.Stats().Queued; got <= 4<<10 {
		t.Fatalf("%d bytes are queued, although nobody else could pay", got)
	}
	r.do(func() { c.SetOptions(&Options{Queue: 1 << 20, Overflow: DropOldest}) })
	if got := r.l.Stats().Queued; got > 4<<10 {
		t.Errorf("%d bytes are queued over a bound of %d", got, 4<<10)
	}
}

// A wait may be interrupted again and again, by signals that other threads get
// as well. The kernel is asked until it has said what there is, and a client
// that has written in time is not idle.
func TestInterruptedWaitIsRepeated(t *testing.T) {
	t.Run("epoll", func(t *testing.T) { interruptedWait(t, turn) })
	t.Run("epoll that a ring asks", func(t *testing.T) {
		interruptedWait(t, func(t *testing.T, l *Loop) {
			t.Helper()
			if _, err := l.be.(*epoll).poll(); err != nil {
				t.Fatal(err)
			}
		})
	})
}

// interruptedWait has a client write, and then the loop asked for it.
func interruptedWait(t *testing.T, ask func(*testing.T, *Loop)) {
	interrupted := 0
	l := throughSeam(t, Config{}, func(s *simulation) {
		wait := s.epollWait
		s.epollWait = func(evs []unix.EpollEvent, timeout Time) (int, unix.Errno) {
			if interrupted > 0 {
				interrupted--
				return -1, unix.EINTR
			}
			return wait(evs, timeout)
		}
	})
	defer l.Close()
	h := newProbe(t)
	ours, p := socketPair(t, unix.SOCK_STREAM)
	c, err := l.Add(ours, h, nil)
	if err != nil {
		t.Fatal(err)
	}
	turn(t, l)
	p.write("in time")
	interrupted = 3
	ask(t, l)
	if got := string(h.of(c).got); got != "in time" || interrupted > 0 {
		t.Errorf("Data(%q) in the turn that was interrupted, which has %d interruptions to come", got, interrupted)
	}
}

// A client takes output while its connection is between two loops. That is
// progress like any other, and it is not stalled.
func TestRestoreSeesProgressMeanwhile(t *testing.T) {
	r := foundRig(t)
	c, p := r.unix()
	o := &Options{Queue: 1 << 20, StallTimeout: time.Second}
	c.SetOptions(o)
	r.spin("a full socket", func() bool {
		r.do(func() { c.Write(make([]byte, 8<<10)) })
		return c.Queued() > 0
	})
	c.lookAtOutput() // the first look cannot tell whether output is on its way
	r.later(900 * time.Millisecond)
	fd, saved, err := detach(c)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := unix.Read(p.fd, make([]byte, 8<<10)); n == 0 || err != nil {
		t.Fatal(n, err) // a part, for which the socket does not say that it has room
	}
	if c, err = restore(r.l, fd, r.probe, nil, o, saved); err != nil {
		t.Fatal(err)
	}
	r.later(900 * time.Millisecond)
	r.turn()
	r.lives(c, "900 ms after it took something, at a timeout of 1 s")
}
