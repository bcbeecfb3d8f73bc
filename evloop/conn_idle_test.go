// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What is no idleness: bytes that move either way, output that waits, and a reply
// that is owed.

// A FIN is a sign of life.
func TestLoopFINIsLife(t *testing.T) { eachBackend(t, finIsLife) }

func finIsLife(r *rig) {
	c, p := r.tcp()
	c.SetOptions(&Options{IdleTimeout: time.Hour})
	r.later(54 * time.Minute)
	p.shut()
	arrives(r.T, c.FD(), unix.POLLRDHUP)
	r.spin("EOF", func() bool { return r.of(c).eof })
	r.later(54 * time.Minute)
	r.turn()
	r.lives(c, "54 min after the FIN")
	r.later(6 * time.Minute)
	r.ends(c, ErrIdle)
}

// A client that takes output, or is sent some, is not idle.
func TestLoopOutputIsNoIdleness(t *testing.T) { eachBackend(t, outputIsNoIdleness) }

func outputIsNoIdleness(r *rig) {
	c, p := r.unix()
	c.SetOptions(&Options{IdleTimeout: time.Second})
	for range 5 { // a listener
		r.later(600 * time.Millisecond)
		r.do(func() { c.Write([]byte("tick")) })
		r.gets(p, []byte("tick"))
	}
	for range 6 {
		r.do(func() { c.Write(make([]byte, 500)) })
	}
	for range 6 { // a slow reader of what the kernel has taken
		r.later(600 * time.Millisecond)
		r.turn()
		if n, err := unix.Read(p.fd, make([]byte, 500)); n == 0 || err != nil {
			r.Fatal(n, err)
		}
	}
	r.lives(c, "although it took output")
	r.later(time.Second)
	r.turn()
	r.later(time.Second)
	r.ends(c, ErrIdle)
}

// The first look at output that is on its way cannot tell whether any has left
// since it was sent, and ends nobody.
func TestLoopFirstLook(t *testing.T) { eachBackend(t, firstLook) }

func firstLook(r *rig) {
	c, p := r.unix()
	c.SetOptions(&Options{IdleTimeout: time.Hour})
	r.later(6 * time.Minute)
	for range 6 {
		r.do(func() { c.Write(make([]byte, 500)) })
	}
	r.later(30 * time.Minute)
	r.turn()
	if n, err := unix.Read(p.fd, make([]byte, 500)); n == 0 || err != nil {
		r.Fatal(n, err)
	}
	for _, d := range []time.Duration{24, 6, 24} { // the moment that was set first, and the deadline
		r.later(d * time.Minute)
		r.turn()
	}
	r.lives(c, "54 min after the peer has read")
}

// A client that does not read is not idle. How long it may go on is for StallTimeout to
// say.
func TestLoopStuckIsNotIdle(t *testing.T) { eachBackend(t, stuckIsNotIdle) }

func stuckIsNotIdle(r *rig) {
	for _, stall := range []time.Duration{0, time.Minute} {
		c, _, _ := stuckUnix(r, &Options{IdleTimeout: time.Second, StallTimeout: stall})
		for range 20 {
			r.later(2 * time.Second)
			r.turn()
		}
		if h := r.of(c); h.closed {
			r.Fatalf("StallTimeout %v: Closed(%v) after 40 s", stall, h.err)
		}
		if stall > 0 {
			r.later(stall)
			r.turn()
			r.later(stall)
			r.ends(c, ErrStalled)
		}
	}
}

// Output that lies in the kernel alone waits for its reader too, but StallTimeout
// does not look there. If there is one, the reader is idle in the end.
func TestLoopStuckInKernelIsIdle(t *testing.T) { eachBackend(t, stuckInKernelIsIdle) }

func stuckInKernelIsIdle(r *rig) {
	for _, stall := range []time.Duration{0, time.Minute} {
		c, _ := r.unix()
		c.SetOptions(&Options{IdleTimeout: time.Second, StallTimeout: stall})
		r.do(func() { c.Write(make([]byte, 500)) })
		for range 20 {
			r.later(2 * time.Second)
			r.turn()
		}
		switch h := r.of(c); {
		case stall == 0 && h.closed:
			r.Fatalf("Closed(%v) after 40 s", h.err)
		case stall > 0:
			r.ends(c, ErrIdle)
		}
	}
}

// A client that waits for a reply is not idle.
func TestLoopOwedIsNoIdleness(t *testing.T) { eachBackend(t, owedIsNoIdleness) }

func owedIsNoIdleness(r *rig) {
	c, _ := r.tcp()
	c.SetOptions(&Options{IdleTimeout: time.Second})
	r.do(func() { c.HoldIdle(true) })
	for range 3 {
		r.later(time.Hour)
		r.turn()
	}
	r.lives(c, "while a reply was owed")
	r.do(func() { c.HoldIdle(false) })
	r.later(900 * time.Millisecond)
	r.turn()
	r.lives(c, "as soon as the reply was not owed any more")
	r.later(time.Second)
	r.ends(c, ErrIdle)
}

// The time of a reply is no silence when it is there.
func TestLoopOwedTimeDoesNotCount(t *testing.T) { eachBackend(t, owedTimeDoesNotCount) }

func owedTimeDoesNotCount(r *rig) {
	c, _ := r.tcp()
	c.SetOptions(&Options{IdleTimeout: time.Hour})
	r.do(func() { c.HoldIdle(true) })
	r.later(54 * time.Minute)
	r.do(func() { c.HoldIdle(false) })
	r.later(54 * time.Minute)
	r.turn()
	r.lives(c, "54 min after the reply")
	r.later(6 * time.Minute)
	r.ends(c, ErrIdle)
}
