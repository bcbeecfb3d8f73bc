// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"io"
	"math"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Nobody pays for a loop that is late. The cases move the loop's clock instead
// of sleeping: what is left to see is that the kernel was asked.

// later moves the loop's clock, as if it had slept for so long.
func (r *rig) later(d time.Duration) { r.l.clock += Time(d) }

// lateBy is later for a loop that could not run, and sees now what came meanwhile.
func (r *rig) lateBy(d time.Duration) {
	r.later(d)
	r.l.looked -= Time(d)
	r.l.late = true
}

// Clients that have written in time are not idle, however many they are.
func TestLoopLateInput(t *testing.T) { eachBackend(t, lateInput) }

func lateInput(r *rig) {
	const n = 40
	r.l.work.events = 2 // as many events in one wait as behind a full array
	o := &Options{IdleTimeout: time.Second}
	var conns []*Conn
	var peers []*peer
	for i := range n {
		open := r.tcp
		if i%2 == 0 {
			open = r.unix
		}
		c, p := open()
		c.SetOptions(o)
		conns, peers = append(conns, c), append(peers, p)
	}
	r.turn()
	for i, p := range peers {
		p.write("in time")
		arrives(r.T, conns[i].FD(), unix.POLLIN)
	}
	r.later(time.Minute)
	r.spin("all input", func() bool {
		for _, c := range conns {
			r.lives(c, "although it wrote in time")
			if len(r.of(c).got) == 0 {
				return false
			}
		}
		return true
	})
	r.later(time.Minute)
	for _, c := range conns {
		r.ends(c, ErrIdle)
	}
}

// A client that has left in time is not idle.
func TestLoopLateFIN(t *testing.T) { eachBackend(t, lateFIN) }

func lateFIN(r *rig) {
	r.l.work.events = 2
	var conns []*Conn
	for range 20 {
		c, p := r.tcp()
		c.SetOptions(&Options{IdleTimeout: time.Second})
		p.shut()
		arrives(r.T, c.FD(), unix.POLLRDHUP)
		conns = append(conns, c)
	}
	r.later(time.Minute)
	for _, c := range conns {
		r.until("EOF", func() bool { return r.of(c).eof || r.of(c).closed })
		if h := r.of(c); !h.eof || h.closed {
			r.Errorf("EOF %t, Closed(%v)", h.eof, h.err)
		}
	}
	r.later(time.Minute)
	for _, c := range conns {
		r.ends(c, ErrIdle)
	}
}

// stuckUnix returns a stuck connection and what its peer has to read.
func stuckUnix(r *rig, o *Options) (*Conn, *peer, int) {
	c, p := r.unix()
	n := len(r.stick(c))
	c.SetOptions(o)
	return c, p, n
}

// A client that has made room in time is not stalled.
func TestLoopLateRoom(t *testing.T) { eachBackend(t, lateRoom) }

func lateRoom(r *rig) {
	c, p, n := stuckUnix(r, &Options{StallTimeout: time.Second})
	r.l.work.events = 2
	var others []*peer
	for range 3 * r.l.work.events {
		_, other := r.unix()
		others = append(others, other)
	}
	r.turn()
	for n > 0 {
		for _, other := range others {
			other.write("x") // whose events are in front
		}
		got := len(p.read())
		if n -= got; got > 0 {
			r.later(time.Minute)
		}
		r.turn()
		if r.of(c).closed {
			r.Fatalf("Closed(%v) with %d bytes to read", r.of(c).err, n)
		}
	}
	r.stick(c)
	r.later(time.Minute)
	r.turn() // asks whether the last of it is on its way
	r.later(time.Minute)
	r.ends(c, ErrStalled)
}

// The output of a client that has made room in time is flushed.
func TestLoopLateFlush(t *testing.T) { eachBackend(t, lateFlush) }

func lateFlush(r *rig) {
	c, p, n := stuckUnix(r, nil)
	r.do(func() { c.CloseAfterFlush(time.Second, nil) })
	got := len(p.read())
	r.lateBy(time.Minute)
	r.spin("the rest", func() bool { got += len(p.read()); return got == n || r.of(c).closed })
	if got != n {
		r.Errorf("Closed(%v) after %d of %d bytes", r.of(c).err, got, n)
	}
}

// A flush ends in time although the peer takes little at a time.
func TestLoopSlowFlush(t *testing.T) { eachBackend(t, slowFlush) }

func slowFlush(r *rig) {
	const timeout = time.Second
	c, p, _ := stuckUnix(r, nil)
	r.do(func() { c.CloseAfterFlush(timeout, nil) })
	took := 0 * timeout
	for ; took < 3*timeout && !r.of(c).closed; took += timeout / looks {
		if n, err := unix.Read(p.fd, make([]byte, 512)); n == 0 || err != nil {
			r.Fatal(n, err)
		}
		r.later(timeout / looks)
		r.turn()
	}
	if took != timeout || r.of(c).err != ErrFlushTimeout {
		r.Errorf("Closed(%v) after %v of %v", r.of(c).err, took, timeout)
	}
}

// A flush without a limit waits for the peer, until it gets a limit.
func TestLoopUnlimitedFlush(t *testing.T) { eachBackend(t, unlimitedFlush) }

func unlimitedFlush(r *rig) {
	c, p, n := stuckUnix(r, nil)
	got := 0
	r.do(func() { c.CloseAfterFlush(math.MaxInt64, nil) })
	for range 3 {
		r.later(24 * time.Hour)
		r.turn()
		got += len(p.read())
	}
	if h := r.of(c); h.closed && got < n {
		r.Fatalf("Closed(%v) after %d of %d bytes", h.err, got, n)
	}
	c, _, _ = stuckUnix(r, nil)
	r.do(func() { c.CloseAfterFlush(math.MaxInt64, nil); c.CloseAfterFlush(time.Second, nil) })
	r.later(time.Second)
	r.ends(c, ErrFlushTimeout)
}

// What a lingering peer has sent is no reason for a reset.
func TestLoopLateLinger(t *testing.T) { eachBackend(t, lateLinger) }

func lateLinger(r *rig) {
	c, p := r.tcp()
	r.do(func() { c.Write([]byte("reply")); c.CloseAfterFlush(time.Hour, nil) })
	r.until("FIN", func() bool { return c.state == stateLingering })
	unseen := func(text string) { // until the deadline has been looked at
		p.write(text)
		arrives(r.T, c.FD(), unix.POLLIN)
		if ringOf(r.l) == nil {
			r.l.sys.epollDel(int(c.fd)) // this event is behind 256 others
		}
		r.later(lingerTime)
		r.l.expire()
		if ringOf(r.l) == nil && !r.of(c).closed {
			r.l.sys.epollAdd(int(c.fd), interest(c), newToken(sourceConn, c.slot, c.gen))
		}
	}
	unseen("one more question")
	r.lives(c, "with input that nobody has read")
	r.turn()
	unseen("and so on, for ever")
	if h := r.of(c); !h.closed || h.err != nil {
		r.Errorf("closed %t (%v) with a peer that goes on sending, want an orderly end", h.closed, h.err)
	}
	if got, err := p.receive(); string(got) != "reply" {
		r.Errorf("the peer got %q, %v", got, err)
	}
	if got, err := p.receive(); err != io.EOF {
		r.Errorf("after the reply the peer got %q, %v, want EOF", got, err)
	}
}

// A peer that takes little at a time is not stalled.
func TestLoopSlowReader(t *testing.T) { eachBackend(t, slowReader) }

// slowReader: a Unix socket reports room only when three quarters of its buffer are free.
// A peer that takes one of sixty messages in half the timeout is
// slow, and not stuck.
func slowReader(r *rig) {
	c, p := r.unix()
	o := &Options{Queue: 1 << 20, StallTimeout: time.Second, IdleTimeout: time.Second}
	c.SetOptions(o)
	r.spin("a full socket", func() bool {
		r.do(func() { c.Write(make([]byte, 8<<10)) })
		return c.Queued() > 0
	})
	for range 10 {
		if n, err := unix.Read(p.fd, make([]byte, 512)); n == 0 || err != nil {
			r.Fatal(n, err)
		}
		for range looks { // it takes its turns in between
			r.later(o.StallTimeout / looks / 2)
			r.turn()
		}
		if n, err := unix.Read(p.fd, make([]byte, 8<<10)); n == 0 || err != nil {
			r.Fatal(n, err)
		}
	}
	r.lives(c, "although it took something all the time")
	r.later(o.StallTimeout)
	r.turn()
	r.later(o.StallTimeout)
	r.ends(c, ErrStalled)
}

// A long turn ages nobody.
func TestLoopLongTurn(t *testing.T) { eachBackend(t, longTurn) }

// A handler that takes long, such as for a write to a card, leaves marks that
// are as old as its turn.
func longTurn(r *rig) {
	const stall = 60 * time.Millisecond
	c, _ := r.tcp()
	c.SetOptions(&Options{IdleTimeout: stall / 2})
	r.do(func() { time.Sleep(stall) })
	for range 3 {
		r.turn()
	}
	r.lives(c, "because a turn was long")
	r.ends(c, ErrIdle)
}

// A loop that never sleeps ends an idle client all the same.
func TestLoopBusyLoop(t *testing.T) { eachBackend(t, busyLoop) }

// busyLoop is late by a little in each turn, and never asleep. The time counts all the
// same.
func busyLoop(r *rig) {
	c, _ := r.tcp()
	c.SetOptions(&Options{IdleTimeout: 3 * lateAfter.Sub(0)})
	r.spin("the end of the idle client", func() bool { return r.of(c).closed })
	if h := r.of(c); h.err != ErrIdle {
		r.Errorf("Closed(%v)", h.err)
	}
}

// What comes before Run ages nobody.
func TestLoopSlowStart(t *testing.T) { eachBackend(t, slowStart) }

func slowStart(r *rig) {
	const start = 60 * time.Millisecond
	r.use(Config{})
	time.Sleep(start)
	began := monotonic()
	c, _ := r.tcp()
	if now := r.l.Now(); now < began {
		r.Errorf("Now, in Open, is %v before it", began.Sub(now))
	}
	c.SetOptions(&Options{IdleTimeout: start / 2})
	time.Sleep(start)
	r.turn()
	r.lives(c, "before the loop ran")
	r.ends(c, ErrIdle)
}

// New options do not begin a timeout anew.
func TestLoopOptionsKeepMarks(t *testing.T) { eachBackend(t, optionsKeepMarks) }

func optionsKeepMarks(r *rig) {
	c, _ := r.tcp()
	for range 3 {
		c.SetOptions(&Options{IdleTimeout: time.Second})
		r.later(400 * time.Millisecond)
		r.turn()
	}
	if !r.of(c).closed {
		r.Error("silent for 1.2 s at a timeout of 1 s, and not closed")
	}
}

// A turn serves a bounded number of timers, and the loop does not sleep on the rest.
func TestLoopExpireBounded(t *testing.T) { eachBackend(t, expireBounded) }

func expireBounded(r *rig) {
	clk := &clock{t: r.T}
	now := monotonic()
	for i := range 3*expireMost + 1 {
		r.l.Schedule(Timer{Deadline: now, Kind: i, Handler: clk})
	}
	for i := range 4 {
		if err := r.l.turn(true); err != nil {
			r.Fatal(err)
		}
		if got, want := len(clk.kinds), min((i+1)*expireMost, 3*expireMost+1); got != want {
			r.Fatalf("after %d turns %d timers have expired, want %d", i+1, got, want)
		}
	}
}

// A turn looks at a bounded number of deadlines, and the next turns at the rest.
func TestLoopIdleBounded(t *testing.T) { eachBackend(t, idleBounded) }

func idleBounded(r *rig) {
	const clients = expireMost + 50
	o := &Options{IdleTimeout: time.Second}
	var conns []*Conn
	for range clients {
		c, _ := r.unix()
		c.SetOptions(o)
		conns = append(conns, c)
	}
	r.turn()
	r.later(time.Minute)
	for ended := 0; ended < clients; {
		before := ended
		r.turn()
		ended = 0
		for _, c := range conns {
			if c.Closing() {
				ended++
			}
		}
		if n := ended - before; n == 0 || n > expireMost {
			r.Fatalf("a turn has ended %d of %d idle clients, want some and %d at most", n, clients-before, expireMost)
		}
	}
}

// A peer that takes no more is stalled a timeout later, or a look at the most.
func TestLoopStallSeenInTime(t *testing.T) { eachBackend(t, stallSeenInTime) }

func stallSeenInTime(r *rig) {
	const timeout = time.Second
	c, p := r.unix()
	c.SetOptions(&Options{Queue: 1 << 20, StallTimeout: timeout})
	r.spin("a full socket", func() bool {
		r.do(func() { c.Write(make([]byte, 8<<10)) })
		return c.Queued() > 0
	})
	c.lookAtOutput() // the first look cannot tell whether output is on its way
	if n, err := unix.Read(p.fd, make([]byte, 8<<10)); n == 0 || err != nil {
		r.Fatal(n, err)
	}
	took := 0 * timeout
	for ; took < 3*timeout && !r.of(c).closed; took += timeout / looks {
		r.later(timeout / looks)
		r.turn()
	}
	if took > timeout+timeout/looks || r.of(c).err != ErrStalled {
		r.Errorf("Closed(%v) %v after it took its last, at a timeout of %v", r.of(c).err, took, timeout)
	}
}
