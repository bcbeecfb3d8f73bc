// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The bound over all connections. What is charged is the queue's business
// (see nodeSize), so the cases compare loops, orders of magnitude and who
// pays, and not bytes.

// stuckConns returns n connections to which nothing more can be sent.
func (r *rig) stuckConns(n int, o *Options) (conns []*Conn, peers []*peer) {
	for range n {
		c, p := r.unix()
		c.SetOptions(o)
		r.clog(c)
		conns, peers = append(conns, c), append(peers, p)
	}
	return conns, peers
}

// One line to a thousand receivers is stored once.
func TestLoopSharedStoredOnce(t *testing.T) { eachBackend(t, sharedStoredOnce) }

func sharedStoredOnce(r *rig) {
	const receivers, size = 1000, 10_000
	conns, peers := r.stuckConns(receivers, nil)
	m := NewMessage(bytes.Repeat([]byte("l"), size))
	r.do(func() {
		for _, c := range conns {
			if !c.Send(m) {
				r.Fatal("refused")
			}
		}
	})
	if got := r.l.Stats().Queued; got < size || got > size+messageSize+receivers*nodeSize {
		r.Errorf("%d bytes charged for a line of %d to %d receivers", got, size, receivers)
	}
	for _, c := range conns {
		if c.Queued() != size {
			r.Fatalf("%d bytes queued for a receiver, want %d", c.Queued(), size)
		}
		if n := &r.l.nodes.nodes[c.out.head-1]; n.m != m {
			r.Fatal("a receiver has a copy of its own")
		}
	}
	for _, c := range conns[1:] {
		c.Abort(nil)
	}
	r.do(func() {})
	if got := r.l.Stats().Queued; got < size {
		r.Errorf("%d bytes charged while one receiver is left", got)
	}
	r.spin("the last receiver", func() bool { peers[0].read(); return conns[0].Queued() == 0 })
	if got := r.l.Stats().Queued; got != 0 {
		r.Errorf("%d bytes charged when nobody is left", got)
	}
}

// The longest queue pays, by its own policy.
func TestLoopLongestPays(t *testing.T) { eachBackend(t, longestPays) }

func longestPays(r *rig) {
	const bound = 100_000
	for _, policy := range []Overflow{Pause, DropOldest, DropNewest, Disconnect} {
		r.use(Config{Memory: bound})
		conns, _ := r.stuckConns(4, &Options{Queue: 1 << 20, Overflow: policy})
		rich, modest := conns[0], conns[1:]
		r.do(func() {
			for i := range 50 {
				rich.Write(frame(i, 1000))
			}
			for _, c := range modest {
				c.Write(frame(0, 10_000))
			}
		})
		if n := r.l.Stats().DroppedMessages; n != 0 || rich.Closing() {
			r.Fatalf("%v: %d messages dropped below the bound", policy, n)
		}
		for i := range 30 {
			r.do(func() { modest[i%3].Write(frame(1+i, 1000)) })
			if got := r.l.Stats().Queued; got > bound {
				r.Fatalf("%v: %d bytes charged, bound %d", policy, got, bound)
			}
		}
		for _, c := range modest {
			if h := r.of(c); h.closed || h.messages > 0 {
				r.Errorf("%v: a modest connection paid: closed %t, %d messages dropped", policy, h.closed, h.messages)
			}
		}
		h := r.of(rich)
		switch drops := policy == DropOldest || policy == DropNewest; {
		case drops && (h.closed || h.messages == 0):
			r.Errorf("%v: closed %t, %d messages dropped; want some and the connection open", policy, h.closed, h.messages)
		case !drops && !errors.Is(h.err, ErrMemory):
			r.Errorf("%v: closed %t with %v, want ErrMemory", policy, h.closed, h.err)
		}
	}
}

// The bound holds for what a gathered send left over.
func TestLoopBoundAfterGather(t *testing.T) { eachBackend(t, boundAfterGather) }

func boundAfterGather(r *rig) {
	const bound = 100_000
	r.use(Config{Memory: bound})
	conns, _ := r.stuckConns(20, nil)
	for _, c := range conns {
		r.do(func() { c.Write(make([]byte, 20_000)) }) // gathered, refused by the kernel, queued
		if got := r.l.Stats().Queued; got > bound {
			r.Fatalf("%d bytes charged, bound %d", got, bound)
		}
	}
	if n := r.l.Stats().Conns; n >= 20 || n < 2 {
		r.Errorf("%d of 20 connections left, want some to have paid", n)
	}
}

// The bound holds for kept input.
func TestLoopBoundOverInput(t *testing.T) { eachBackend(t, boundOverInput) }

func boundOverInput(r *rig) {
	const bound = 100_000
	r.use(Config{Memory: bound})
	r.onData = func(*Conn, []byte) int { return 0 }
	var conns []*Conn
	for range 20 {
		c, p := r.unix()
		p.write(string(make([]byte, 15_000)))
		conns = append(conns, c)
	}
	r.until("all input", func() bool {
		for _, c := range conns {
			if c.BytesIn() < 15_000 && !r.of(c).closed {
				return false
			}
		}
		return true
	})
	if s := r.l.Stats(); s.Queued > bound || s.Conns == 20 || s.Conns < 2 {
		r.Errorf("%d bytes charged (bound %d), %d of 20 connections left", s.Queued, bound, s.Conns)
	}
}

// A connection that is ending and owes the most is cut off.
func TestLoopEndingPays(t *testing.T) { eachBackend(t, endingPays) }

// endingPays: the messages of a connection that is ending are a reply or a farewell, so
// none can be dropped.
func endingPays(r *rig) {
	r.use(Config{Memory: 100_000})
	conns, _ := r.stuckConns(2, nil)
	r.do(func() {
		conns[0].Write(make([]byte, 80_000))
		conns[0].CloseAfterFlush(patience, nil)
	})
	r.do(func() { conns[1].Write(make([]byte, 30_000)) })
	r.ends(conns[0], ErrMemory)
	if conns[1].Closing() {
		r.Error("the other one paid as well")
	}
}

// A shared message is charged to the bound once.
func TestLoopSharedChargedOnce(t *testing.T) { eachBackend(t, sharedChargedOnce) }

func sharedChargedOnce(r *rig) {
	const bound = 100_000
	r.use(Config{Memory: bound})
	conns, _ := r.stuckConns(100, nil)
	m := NewMessage(make([]byte, 50_000)) // five megabytes if each counted
	r.do(func() {
		for _, c := range conns {
			c.Send(m)
		}
	})
	if n := r.l.Stats().Conns; n != 100 {
		r.Errorf("%d of 100 receivers left", n)
	}
}

// Dropping one receiver of a shared message frees nothing and ends.
func TestLoopSharedDropsEnd(t *testing.T) { eachBackend(t, sharedDropsEnd) }

func sharedDropsEnd(r *rig) {
	r.use(Config{Memory: 100_000})
	conns, _ := r.stuckConns(100, &Options{Overflow: DropOldest, Queue: 1 << 20})
	a, b := NewMessage(make([]byte, 60_000)), NewMessage(make([]byte, 60_000))
	r.do(func() {
		for _, c := range conns {
			c.Send(a)
		}
		for _, c := range conns {
			c.Send(b)
		}
	})
	if got := r.l.Stats(); got.Queued > 100_000 || got.Conns != 100 || got.DroppedMessages == 0 {
		r.Errorf("%d bytes charged, %d receivers, %d messages dropped", got.Queued, got.Conns, got.DroppedMessages)
	}
}

// A lowered bound counts from the next message on.
func TestLoopLowerBound(t *testing.T) { eachBackend(t, lowerBound) }

func lowerBound(r *rig) {
	conns, _ := r.stuckConns(10, nil)
	r.do(func() {
		for _, c := range conns {
			c.Write(make([]byte, 10_000))
		}
	})
	r.l.SetLimits(0, 50_000)
	r.do(func() { conns[0].Write([]byte("x")) })
	if got := r.l.Stats(); got.Queued > 50_000 || got.Conns == 10 {
		r.Errorf("%d bytes charged to %d connections under a bound of 50000", got.Queued, got.Conns)
	}
}

// An exempt connection does not pay, and the next one does.
func TestLoopExemptSpared(t *testing.T) { eachBackend(t, exemptSpared) }

func exemptSpared(r *rig) {
	r.use(Config{Memory: 100_000})
	spared, _ := r.stuckConns(1, nil)
	r.do(func() { spared[0].Write(make([]byte, 60_000)) })
	spared[0].SetOptions(&Options{Exempt: true})
	conns, _ := r.stuckConns(1, nil)
	r.do(func() { conns[0].Write(make([]byte, 50_000)) })
	r.ends(conns[0], ErrMemory)
	r.do(func() { spared[0].Write(make([]byte, 60_000)) }) // nobody else is left to pay
	if got := spared[0].Queued(); got != 120_000 || r.of(spared[0]).closed {
		r.Errorf("%d bytes queued, closed %v; want all 120000", got, r.of(spared[0]).closed)
	}
}

// Small messages weigh what they take, and their owner pays.
func TestLoopSmallPay(t *testing.T) { eachBackend(t, smallPay) }

// The replies to PING of clients that do not read are small and many. What they
// take is more than their bytes, and the clients that asked for them pay for it.
func smallPay(r *rig) {
	for _, policy := range []Overflow{DropOldest, DropNewest} {
		r.use(Config{Memory: 1 << 20})
		flood, _ := r.stuckConns(64, &Options{Overflow: policy})
		modest, _ := r.stuckConns(20, nil)
		for _, c := range modest {
			r.do(func() { c.Write(make([]byte, 10<<10)) })
		}
		for range 30 {
			for _, c := range flood {
				r.do(func() {
					for range 100 {
						c.Write([]byte("+PONG\r\n"))
					}
				})
			}
		}
		if s := r.l.Stats(); s.DroppedMessages == 0 || s.Queued > 1<<20 {
			r.Fatalf("%v: %d messages dropped, %d bytes charged; the test needs a bound that was reached", policy, s.DroppedMessages, s.Queued)
		}
		for _, c := range modest {
			if h := r.of(c); h.closed || h.messages > 0 {
				r.Errorf("%v: a bystander paid: closed %t, %d messages dropped", policy, h.closed, h.messages)
			}
		}
	}
}

// worked returns the time that f takes of the processors, however busy they are.
func worked(r *rig, f func()) time.Duration {
	var u [2]unix.Rusage
	for i := range u {
		if i > 0 {
			f()
		}
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u[i]); err != nil {
			r.Fatal(err)
		}
	}
	return time.Duration(u[1].Utime.Nano() + u[1].Stime.Nano() - u[0].Utime.Nano() - u[0].Stime.Nano())
}

// What a callback has queued and not yet sent is owed too when the bound is reached.
func TestLoopUnsentPays(t *testing.T) { eachBackend(t, unsentPays) }

func unsentPays(r *rig) {
	r.use(Config{Memory: 10_000})
	conns, _ := r.stuckConns(3, &Options{Queue: 1 << 20, Overflow: DropOldest})
	r.do(func() { conns[0].Write(make([]byte, 2000)) })
	r.do(func() {
		for range 7 {
			conns[1].Send(NewMessage(make([]byte, 1000)))
		}
		conns[2].Send(NewMessage(make([]byte, 1000))) // one too many
	})
	for i, want := range []uint64{0, 1, 0} {
		if got := conns[i].Dropped(); got != want {
			r.Errorf("connection %d has lost %d messages, want %d: the second owes the most", i, got, want)
		}
	}
}

// Before Run the ring can offer nothing, and what is put off is owed like everything
// else. The connection that owes the most pays, and not the last one that has written.
func TestRingOwesBeforeRun(t *testing.T) {
	r := newRingRig(t)
	r.use(Config{Memory: 16 << 10})
	var conns []*Conn
	for _, size := range []int{8 << 10, 3 << 10, 3 << 10, 3 << 10} {
		c, _ := r.unix()
		c.SetOptions(&Options{Overflow: DropNewest})
		r.l.enter()
		c.Write(make([]byte, size))
		r.l.leave()
		conns = append(conns, c)
	}
	for i, c := range conns {
		if paid := c.Dropped() > 0; paid != (i == 0) {
			t.Errorf("connection %d has paid: %t, want %t", i, paid, i == 0)
		}
	}
}
