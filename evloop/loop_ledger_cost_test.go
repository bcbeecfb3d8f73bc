// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"math"
	"testing"
	"time"
)

// What the ledger costs, however many connections there are.

// The list of those that a callback has written to is weighed once, and not for each
// message at the bound.
func TestDirtyListIsWeighedOnce(t *testing.T) {
	r := foundRig(t)
	r.use(Config{Memory: 10_000})
	conns, _ := r.stuckConns(1, &Options{Queue: 1 << 20, Overflow: DropOldest})
	r.do(func() {
		send := func() { conns[0].Send(NewMessage(make([]byte, 1000))) }
		for conns[0].Dropped() == 0 {
			send()
		}
		r.l.dirty = append(r.l.dirty, nil) // to look at it is to panic
		defer func() {
			r.l.dirty = r.l.dirty[:len(r.l.dirty)-1]
			if v := recover(); v != nil {
				t.Errorf("the list is weighed again: %v", v)
			}
		}()
		before := conns[0].Dropped()
		if send(); conns[0].Dropped() == before {
			t.Error("nothing was dropped; the test needs a bound that is reached")
		}
	})
}

// atMost is how many times as long it may take when a bound is reached. A walk
// over all that owe, or over a queue, takes hundreds of times as long.
const atMost = 20

// To find the connection that pays costs the same, however many owe.
func TestLoopPayerAtOneCost(t *testing.T) { eachBackend(t, payerAtOneCost) }

// A thousand clients that do not read get lines. Each line is one too many for
// the queue of its client at first, and then for the bound over all.
func payerAtOneCost(r *rig) {
	const debtors, lines = 1000, 20
	took := func(cfg Config, queue int) time.Duration {
		r.use(cfg)
		conns, _ := r.stuckConns(debtors, &Options{Queue: queue, Overflow: DropOldest})
		send := func() {
			r.do(func() {
				for range lines {
					for _, c := range conns {
						c.Send(NewMessage(make([]byte, 100)))
					}
				}
			})
		}
		send()
		before := r.l.Stats().DroppedMessages
		d := worked(r, send)
		if n := r.l.Stats().DroppedMessages - before; n < debtors*lines/2 {
			r.Fatalf("%d messages dropped; the test needs a bound that is reached", n)
		}
		return d
	}
	own := took(Config{}, lines*100)
	all := took(Config{Memory: debtors * lines * (100 + messageSize + nodeSize)}, 1<<20)
	if all > atMost*own {
		r.Errorf("%d messages take %v at the bound over all, and %v at that of a queue", debtors*lines, all, own)
	}
}

// Of the connections that owe about the same the first pays: a look at the others
// would be a walk over all debtors.
func TestPayerIsFirstOfItsBucket(t *testing.T) {
	r := foundRig(t)
	conns, _ := r.stuckConns(3, nil)
	r.do(func() {
		for _, c := range conns {
			c.Write(make([]byte, 1000))
		}
	})
	first := r.l.owing.greatest(r.l)
	behind := first.out.next
	if behind == 0 {
		t.Fatal("the test needs several connections in a bucket")
	}
	first.out.next = math.MaxUint32 // to go on from here is to panic
	defer func() {
		first.out.next = behind
		if v := recover(); v != nil {
			t.Errorf("looks behind the first of the bucket: %v", v)
		}
	}()
	if c := r.l.owing.greatest(r.l); c != first {
		t.Errorf("slot %d pays, want %d", c.slot, first.slot)
	}
}

// To drop the newest message of a long queue costs little.
func TestLoopNewestAtOneCost(t *testing.T) { eachBackend(t, newestAtOneCost) }

// One client owes the most, in many messages, and pays with its newest for each
// message of another.
func newestAtOneCost(r *rig) {
	const messages, queued = 20_000, 50_000
	took := func(bounded bool) time.Duration {
		r.use(Config{})
		conns, _ := r.stuckConns(2, &Options{Queue: 1 << 30, Overflow: DropNewest})
		rich, other := conns[0], conns[1]
		send := func(c *Conn, n, size int) {
			m := NewMessage(make([]byte, size))
			r.do(func() {
				for range n {
					c.Send(m)
				}
			})
		}
		send(rich, queued, 1000)
		want := uint64(0)
		if bounded {
			want = messages
			r.l.SetLimits(0, r.l.Stats().Queued)
		}
		d := worked(r, func() { send(other, messages, 1) })
		if n := rich.Dropped(); n < want || n > 2*want || other.Dropped() > 0 {
			r.Fatalf("%d messages dropped of the one that owes the most, %d of the other", n, other.Dropped())
		}
		return d
	}
	free, bounded := took(false), took(true)
	if bounded > atMost*free {
		r.Errorf("%d messages take %v at the bound, and %v without one", messages, bounded, free)
	}
}
