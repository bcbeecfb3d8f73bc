// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"slices"

	"golang.org/x/sys/unix"
)

// Invariants of the loop between two turns. They are written from the inside,
// so that a mistake shows in the turn in which it is made and not only when a
// byte turns out to be missing.

func (w *simWorld) check() {
	l := w.l
	if len(l.dirty)+len(l.dropped)+l.depth != 0 || l.gather.c != nil || l.gather.bytes != 0 {
		w.fail("something is left to settle after a turn")
	}
	most := w.turn.timers == expireMost // those that are left are due in the next turn
	w.checkTurn()
	if l.stats.StaleEvents < w.k.staleSent {
		w.fail(w.k.staleSent, "stale events sent, but", l.stats.StaleEvents, "recognised")
	}
	for _, t := range w.timers {
		if t.at <= l.now && t.armed < l.now && !l.Spent() && !most {
			w.fail("timer", t.kind, "is overdue")
		}
	}
	if ringOf(l) != nil {
		if ringOf(l).failed != nil && w.k.faults.fatal {
			return // the next turn says so, and until then nothing goes on
		}
		w.k.ring.look()
		w.checkBuffers()
	}
	for c := range l.conns.all {
		w.checkConn(c)
	}
	retrying := 0
	if l.conns.used != len(w.conns) {
		w.fail(l.conns.used, "connections in the table, but", len(w.conns), "open")
	}
	w.checkMemory()
	for _, ln := range w.lns {
		if !ln.closed {
			w.checkListener(ln)
		}
		if !ln.retry.IsZero() && !ln.closed {
			retrying++
		}
	}
	if n := l.timers.heap.len(); n != len(w.timers)+retrying {
		w.fail(n, "timers are armed, not", len(w.timers), "and", retrying)
	}
}

// checkConn: what the kernel will not report again must be remembered, and
// what is remembered and may be done must be on the ready list.
func (w *simWorld) checkConn(c *Conn) {
	f, l, m := w.k.file("check", int(c.fd)), w.l, c.State.(*simConn)
	ready := slices.Contains(l.ready, newToken(sourceConn, c.slot, c.gen))
	switch {
	case c.state >= stateDead:
		if l := w.l; l.work.buried < l.work.bury || !slices.Contains(l.dead, c) {
			w.fail(f, "is dead and not buried")
		}
		m.waited = true
		return
	case c.flags&flagRoom != 0 && !ready:
		w.fail(f, "has room that nobody will use")
	case (c.flags&flagReady != 0) != ready:
		w.fail(f, "is on the ready list:", ready)
	case c.flags&flagEOF != 0 && f.sock.gone && !f.queued && c.mayRead() && !ready && c.edge&edgeOffered == 0:
		w.fail(f, "has nobody at the other end and lives on")
	case c.flags&flagReplay != 0 && c.mayRead() && !ready:
		w.fail(f, "has kept input that nobody will show")
	case c.state == stateOpen && c.flags&flagDrained != 0 && !ready:
		w.fail(f, "has drained and nobody will say so")
	case len(c.Input()) > DefaultMaxInput && c.mayRead() && c.flags&flagReplay == 0:
		w.fail(f, "keeps", len(c.Input()), "bytes of input")
	}
	if w.ringed(c) {
		w.checkReceive(c, f, ready)
		w.checkSend(c, f)
	} else {
		w.checkInput(c, f, ready)
		w.checkArmed(c, f)
	}
	m.drainDue = m.drainDue || c.Full()
	m.readBefore, m.fresh = m.s.read, 0
	w.checkOutput(c, f)
	// What is put off has its result, and then its deadline, before the loop sleeps.
	if at, ok := c.deadline(); ok {
		if set, has := l.deadlines.when(c.slot); (!has || set > at) && c.edge&edgeOffered == 0 {
			w.fail(f, "will not be ended in time")
		}
		if at <= l.clock && c.until == 0 && c.opts.IdleTimeout == 0 && m.tuned < l.stats.Turns {
			w.fail(f, "has stalled and lives on")
		}
	}
}

// checkInput: the edge of input that the loop has not read is remembered.
func (w *simWorld) checkInput(c *Conn, f *simFile, ready bool) {
	m := c.State.(*simConn)
	input := f.sock.hasInput() && c.flags&flagEOF == 0
	switch {
	case c.flags&flagBroken != 0 && !f.queued && c.mayRead() && !ready:
		w.fail(f, "takes no output and lives on")
	case c.kind.isStream() && m.s.read-m.readBefore > w.l.readBudget:
		w.fail(f, "read", m.s.read-m.readBefore, "bytes in one turn")
	case input && !f.queued && c.edge&edgeReadable == 0:
		w.fail(f, "has input that is forgotten")
	case input && !f.queued && (c.mayRead() || c.state == stateLingering) && !ready:
		w.fail(f, "has input that nobody will read")
	}
}

// checkArmed: OUT is armed if and only if the queue is not empty.
func (w *simWorld) checkArmed(c *Conn, f *simFile) {
	armed := f.mask&unix.EPOLLOUT != 0
	switch {
	case armed != (c.edge&edgeArmed != 0):
		w.fail(f, "is armed:", armed, "but does not know")
	case armed != (c.out.bytes > 0) && c.flags&flagBroken == 0:
		w.fail(f, "is armed:", armed, "with", c.out.bytes, "bytes queued")
	case c.out.bytes > 0 && f.holds()&unix.EPOLLOUT != 0 && !f.queued && c.flags&flagRoom == 0:
		w.fail(f, "has room that is forgotten")
	}
}

// checkOutput: the queue is whole, and the connection in the state it calls for.
func (w *simWorld) checkOutput(c *Conn, f *simFile) {
	nodes, sum := w.l.nodes.nodes, 0
	for i := c.out.head; i != 0; i = nodes[i-1].next {
		n := &nodes[i-1]
		sum += int(n.size())
		if n.next == 0 && c.out.tail != i || n.prev == 0 && c.out.head != i || n.next != 0 && nodes[n.next-1].prev != i {
			w.fail(f, "has a torn queue")
		}
	}
	sum -= int(c.out.off)
	m := f.sock.conn
	full := c.flags&flagFull != 0
	switch {
	case sum != int(c.out.bytes) || (c.out.head == 0) != (c.out.tail == 0):
		w.fail(f, "queues", sum, "bytes, not", c.out.bytes)
	case c.state == stateOpen && (full && sum <= c.opts.lowWater() || sum >= c.opts.queue() && !full):
		w.fail(f, "is full:", full, "with", sum, "bytes of", c.opts.queue())
	case !m.raw && (c.out.begun() == 0) != (m.parser.n == 0) && (m.parser.n > 0 || !m.merges) && sum > 0:
		w.fail(f, "has begun a message:", m.parser.n > 0, "but does not know")
	case c.state == stateFlushing && sum == 0 && c.flags&flagRoom == 0:
		w.fail(f, "is flushed and nobody noticed")
	}
}

// checkMemory recounts what is charged, and to whom.
func (w *simWorld) checkMemory() {
	l := w.l
	total, nodes := int64(0), 0
	queued := map[*Message]int32{}
	owing, pays := 0, false
	for c := range l.conns.all {
		total += c.inputCost() + w.heldBy(c)
		charge, own := int64(0), map[*Message]bool{}
		for i := c.out.head; i != 0; i = l.nodes.nodes[i-1].next {
			m := l.nodes.nodes[i-1].m
			if total += nodeSize; queued[m] == 0 {
				total += m.cost()
			}
			if charge += nodeSize; m.shared() || !own[m] {
				charge += m.cost()
			}
			own[m] = true
			queued[m]++
			nodes++
		}
		switch {
		case noQueue != (queue{}):
			w.fail("the queue of those that have none was written to")
		case c.out != &noQueue && c.out.head == 0 && c.out.bucket == 0:
			w.fail("an empty queue is kept")
		}
		if charge != c.out.charge {
			w.fail("a queue that takes", charge, "bytes is charged", c.out.charge)
		}
		bucket := bucketOf(c.debt())
		if c.opts.Exempt {
			bucket = 0
		} else if bucket > 0 {
			pays = true
		}
		if c.out.bucket != bucket && (c.edge&edgeOffered == 0 || l.pressed()) {
			w.fail("a debtor of", c.debt(), "bytes is in bucket", c.out.bucket)
		}
		if c.out.bucket != 0 {
			owing++
		}
	}
	for m, n := range queued {
		if m.queued != n {
			w.fail("a message counts", m.queued, "queues, not", n)
		}
	}
	for b, s := range l.owing.heads {
		if some := l.owing.some[b/64]>>(b%64)&1 != 0; some != (s != 0) {
			w.fail("bucket", b, "is said to hold somebody:", some)
		}
		for before := uint32(0); s != 0; owing-- {
			c := l.conns.slots[s-1].val
			if c == nil || int(c.out.bucket) != b || c.out.prev != before {
				w.fail("bucket", b, "is torn")
			}
			before, s = s, c.out.next
		}
	}
	for _, q := range l.pool.queues {
		if *q != (queue{}) {
			w.fail("a spare queue holds", *q)
		}
	}
	free := 0
	for i := l.nodes.free; i != 0; i = l.nodes.nodes[i-1].next {
		free++
	}
	switch {
	case owing != 0:
		w.fail(owing, "debtors are in no bucket")
	case free+nodes != len(l.nodes.nodes):
		w.fail(len(l.nodes.nodes)-free-nodes, "nodes have leaked")
	case total != l.queued:
		w.fail(l.queued, "bytes charged for", total)
	case l.memory > 0 && total > l.memory && pays:
		w.fail(total, "bytes queued over the bound of", l.memory)
	}
}

// checkListener: a backlog is reported, remembered, or waits for something
// that will come.
func (w *simWorld) checkListener(ln *Listener) {
	f, l := w.k.file("check", ln.fd), w.l
	ready := slices.Contains(l.ready, ln.token())
	switch {
	case ln.ready != ready:
		w.fail(f, "is on the ready list:", ready)
	case ln.putOff.waits && !ready && !ln.paused && (l.conns.used < l.limit || !l.waiting):
		w.fail(f, "has forgotten the client that was put off")
	case ln.dead || len(f.backlog) == 0 || f.queued:
	case !ln.backlog:
		w.fail(f, "has forgotten its backlog")
	case ready || ln.paused:
	case !ln.retry.IsZero():
		if !l.timers.heap.has(ln.retry.slot) {
			w.fail(f, "waits for a timer that is not armed")
		}
	case l.conns.used < l.limit || !l.waiting:
		w.fail(f, "has a backlog that nobody will accept")
	}
}

// checkDelivered: when nothing moves any more, everything has arrived.
func (w *simWorld) checkDelivered() {
	for _, m := range w.conns {
		switch {
		case m.s.broken || m.c.flags&flagBroken != 0:
		case m.shown < m.s.sent && !m.ended:
			w.fail(m.s.sent-m.shown, "bytes of", m.s.id, "were never read")
		case m.mustReplay && len(m.c.Input()) > 0 && !m.ended:
			w.fail("input of", m.s.id, "was never shown again")
		case (m.s.finIn || m.s.gone) && !m.eof && !m.ended:
			w.fail("the end of", m.s.id, "was never told")
		case m.raw && m.carried < m.accepted || !m.raw && (m.c.out.bytes > 0 || m.parser.n > 0):
			w.fail("output to", m.s.id, "was never sent")
		case m.drainDue && !m.ended:
			w.fail(m.s.id, "was full and never heard that it is no more")
		case m.shut && !m.ended && !m.s.finOut && !m.s.gone:
			w.fail("FIN to", m.s.id, "was never sent")
		case m.raw && !m.ended && !m.shut && m.carried < m.shown-len(m.c.Input()):
			w.fail("echo to", m.s.id, "is not complete")
		}
	}
	for _, ln := range w.lns {
		if !ln.closed && !ln.dead && len(w.k.file("check", ln.fd).backlog) > 0 {
			w.fail("clients are left in the backlog")
		}
	}
}

// checkClosed: after Close nothing is left.
func (w *simWorld) checkClosed() {
	l := w.l
	for _, f := range w.k.files {
		if f != nil {
			w.fail(f, "is left open")
		}
	}
	if len(w.conns) > 0 {
		w.fail(len(w.conns), "connections never got Closed")
	}
	if l.deadlines.len() > 0 || len(w.k.events) > 0 {
		w.fail("deadlines or registrations are left")
	}
	for i := range l.timers.slots {
		if t := &l.timers.slots[i]; l.timers.heap.has(uint32(i)) && t.Conn != (ConnID{}) {
			w.fail("a timer of a closed connection is left")
		}
	}
	if w.k.ring != nil && !w.k.faults.fatal {
		w.checkRequests()
	}
	w.checkMemory()
	if l.queued != 0 {
		w.fail(l.queued, "bytes are still charged")
	}
}
