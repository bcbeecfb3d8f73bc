// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"testing"
	"time"
)

// IdleTimeout counts from the last input.
func TestLoopIdleTimeout(t *testing.T) { eachBackend(t, idleTimeout) }

func idleTimeout(r *rig) {
	c, p := r.tcp()
	const idle = 20 * time.Millisecond
	c.SetOptions(&Options{IdleTimeout: idle})
	began := r.l.Now()
	for range 5 { // each brings it forward
		p.write("x")
		calls := r.of(c).calls
		r.until("Data", func() bool { return r.of(c).calls > calls })
	}
	last := c.lastIn
	r.ends(c, ErrIdle)
	if got := r.l.Now().Sub(last); got < idle || last < began {
		r.Errorf("ended %v after the last input, want %v", got, idle)
	}
}

// IdleTimeout does not count while paused.
func TestLoopIdlePaused(t *testing.T) { eachBackend(t, idlePaused) }

func idlePaused(r *rig) {
	c, _ := r.tcp()
	const idle = time.Millisecond
	c.Pause()
	c.SetOptions(&Options{IdleTimeout: idle})
	clk := &clock{t: r.T}
	r.l.Schedule(Timer{Deadline: monotonic().Add(5 * idle), Handler: clk})
	r.wait(clk, 1)
	if r.of(c).closed {
		r.Fatal("ended while paused")
	}
	resumed := monotonic()
	r.do(c.Resume)
	r.ends(c, ErrIdle)
	if got := r.l.Now().Sub(resumed); got < idle/2 {
		r.Errorf("ended %v after Resume, want %v", got, idle)
	}
}

// StallTimeout ends a flush that makes no progress.
func TestLoopStallWhileFlushing(t *testing.T) { eachBackend(t, stallWhileFlushing) }

// A peer that has shut its side and reads nothing is no better than one that
// has not, whatever time it was given.
func stallWhileFlushing(r *rig) {
	for want, reason := range map[error]error{ErrStalled: nil, ErrOverflow: ErrOverflow} {
		c, _ := r.tcp()
		r.stick(c)
		r.do(func() { // at once: on a slow machine it would be stalled before it flushes
			c.SetOptions(&Options{StallTimeout: time.Millisecond})
			c.CloseAfterFlush(time.Hour, reason)
		})
		r.ends(c, want)
	}
}

// StallTimeout counts from the last progress.
func TestLoopStallTimeout(t *testing.T) { eachBackend(t, stallTimeout) }

func stallTimeout(r *rig) {
	c, p := r.tcp()
	r.stick(c)
	r.do(func() { c.Write(make([]byte, 8<<20)) }) // more than the peer takes below
	c.SetOptions(&Options{StallTimeout: 50 * time.Millisecond})
	// A peer that takes a little now and then is slow and not stuck.
	for range 3 {
		before := c.BytesOut()
		r.spin("progress", func() bool { p.read(); return c.BytesOut() > before })
	}
	if r.of(c).closed {
		r.Fatalf("Closed(%v) while there was progress", r.of(c).err)
	}
	last := c.lastOut
	r.ends(c, ErrStalled)
	if got := r.l.Now().Sub(last); got < 50*time.Millisecond {
		r.Errorf("ended %v after the last progress, want 50ms", got)
	}
}

// An open connection without timeouts has no deadline.
func TestLoopNoDeadline(t *testing.T) { eachBackend(t, noDeadline) }

func noDeadline(r *rig) {
	c, p := r.tcp()
	p.write("x")
	r.until("Data", func() bool { return r.of(c).calls == 1 })
	if at, ok := r.l.nextDeadline(); ok && at < monotonic().Add(patience/2) {
		r.Errorf("the loop would wake in %v", at.Sub(monotonic()))
	}
}
