// SPDX-License-Identifier: Apache-2.0

package evloop

import "errors"

// The model of who pays when the loop's memory bound is reached. The loop finds
// the greatest debtor by what it has booked. The model counts each debt anew,
// from the messages and buffers that a connection holds, just before something
// that may reach the bound, and then looks which connections have paid.

// Sizes of what is charged beside the bytes: a node of a queue, a message, and
// the smallest buffer of one that is not shared.
const (
	simNodeSize    = 24
	simMessageSize = 32
	simLeastBuffer = 256
)

// owes recounts what c holds of the bound: a shared message in full, also where
// others queue it too. largest is the most that dropping one message may free.
func (w *simWorld) owes(c *Conn) (debt, largest int64) {
	queue, largest := w.queues(c)
	return queue + w.kept(c) + w.heldBy(c), largest
}

// kept recounts what c's kept input takes, with what the loop needs to keep it.
func (w *simWorld) kept(c *Conn) int64 {
	if b := c.Input(); len(b) > 0 {
		return simMessageSize + int64(cap(b))
	}
	return 0
}

// queues is owes for the queue only.
func (w *simWorld) queues(c *Conn) (debt, largest int64) {
	var own []*Message // buffers of several messages lie side by side
	for i := c.out.head; i != 0; i = w.l.nodes.nodes[i-1].next {
		m := w.l.nodes.nodes[i-1].m
		cost := simMessageSize + int64(len(m.buf))
		if m.count > 0 {
			cost = simMessageSize + max(simLeastBuffer, int64(len(m.buf)))
		}
		largest = max(largest, simNodeSize+cost)
		debt += simNodeSize
		if m.count > 0 {
			if n := len(own); n > 0 && own[n-1] == m {
				continue
			}
			own = append(own, m)
		}
		debt += cost
	}
	return debt, largest
}

// A simDebt is what a connection owed, and had lost, before.
type simDebt struct {
	m             *simConn
	debt, largest int64
	dropped       uint64
	ended         bool
}

// debts notes what everybody owes, if n more bytes may reach the bound.
func (w *simWorld) debts(n int) []simDebt {
	l := w.l
	if l.memory == 0 || l.queued+int64(l.gather.bytes+n)+64*simLeastBuffer <= l.memory {
		return nil
	}
	return w.allDebts()
}

func (w *simWorld) allDebts() (before []simDebt) {
	for _, m := range w.conns {
		debt, largest := w.owes(m.c)
		before = append(before, simDebt{m, debt, largest, m.c.Dropped(), m.paid()})
	}
	return before
}

// paid reports whether m was ended for the bound.
func (m *simConn) paid() bool { return errors.Is(m.c.reason(), ErrMemory) }

// checkPayers: nobody else owes more than an eighth above what a payer owed
// before it paid for the last time. What target, if any, has lost may be by its
// own bound, and what it owes may have come afterwards.
func (w *simWorld) checkPayers(before []simDebt, target *simConn) {
	var paid []simDebt
	for _, b := range before {
		c := b.m.c
		switch {
		case b.m.paid() && !b.ended:
		case b.m == target || c.Dropped() == b.dropped || c.state != stateOpen:
			continue
		default:
			b.debt, _ = w.owes(c)
			b.debt += b.largest
		}
		if c.opts.Exempt {
			w.fail(b.m.s.id, "is exempt and pays")
		}
		if b.m != target {
			paid = append(paid, b)
		}
	}
	for _, p := range paid {
		for _, m := range w.conns {
			if m == target || m.c.opts.Exempt || m.c.state >= stateDead {
				continue
			}
			if debt, _ := w.owes(m.c); debt > p.debt+p.debt/8 {
				w.fail(p.m.s.id, "pays for the memory bound with", p.debt, "bytes, and", m.s.id, "owes", debt)
			}
		}
	}
}
