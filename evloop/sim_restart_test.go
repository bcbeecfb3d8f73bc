// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"errors"
	"slices"
	"time"
)

// A restart is an act of a history: connections leave their loop together, and
// come back in the same one in a later turn, or at once in another, of either
// back end, while the first one ends. All rules go on over it. Besides, nobody
// may be told, and nothing sent, before all are back, and what they have queued
// must not take more of the memory bound than before.

// A simParcel is what DetachAll has returned.
type simParcel struct {
	carried  []Carried
	of       []*simConn
	messages []byte
	charge   int64 // what their queues took together
}

// A simReturn is a Restore in progress.
type simReturn struct {
	seen         map[*Message]bool
	charge, most int64
	debt         int64 // of one connection
}

// count adds what the queue of c takes, with each message once.
func (s *simReturn) count(w *simWorld, c *Conn) {
	for i := c.out.head; i != 0; i = w.l.nodes.nodes[i-1].next {
		m := w.l.nodes.nodes[i-1].m
		if s.charge += simNodeSize; !s.seen[m] {
			s.seen[m] = true
			s.charge += m.cost()
		}
	}
}

// detach carries m, and at times others, over to new Conns of the loop in a
// later turn.
func (w *simWorld) detach(m *simConn) {
	some := []*simConn{m}
	for _, o := range w.conns {
		if o != m && w.chance(6) {
			some = append(some, o)
		}
	}
	if w.chance(4) {
		w.finish(m, time.Duration(w.rng.IntN(int(time.Second))), nil)
	}
	p := w.takeOut(some)
	w.posted++
	w.l.Post(func() {
		w.posted--
		w.bringBack(p)
	})
}

// takeOut detaches connections.
func (w *simWorld) takeOut(some []*simConn) *simParcel {
	before := make([]simReturn, len(some))
	for i, m := range some {
		m.drainDue = m.drainDue || m.c.Full()
		before[i].seen, before[i].debt = map[*Message]bool{}, m.c.out.charge
		before[i].count(w, m.c)
		if g := &w.l.gather; g.c == m.c {
			more := int64(g.bytes + len(g.pieces)*(simNodeSize+simMessageSize+simLeastBuffer))
			before[i].debt += more
			before[i].charge += more
		}
	}
	p := &simParcel{}
	all := simReturn{seen: map[*Message]bool{}}
	var conns []*Conn
	for _, m := range some {
		conns = append(conns, m.c)
	}
	over := w.overOnes(some)
	carried, messages := w.l.DetachAll(conns)
	p.messages = messages
	for i, c := range carried {
		m := some[i]
		w.k.trace("detach %d: %v", m.s.id, c.Err)
		if c.Err != nil {
			w.checkRefused(m, c.Err, over[i])
			continue
		}
		p.carried, p.of = append(p.carried, c), append(p.of, m)
		m.carriedQueue = before[i].debt
		all.charge += before[i].charge
		for o := range before[i].seen {
			if all.seen[o] {
				all.charge -= o.cost()
			}
			all.seen[o] = true
		}
		w.away = append(w.away, m)
	}
	p.charge = all.charge
	w.parcels = append(w.parcels, p)
	return p
}

// overOnes tells which connections cannot be taken, whatever their handler says.
func (w *simWorld) overOnes(some []*simConn) (over []bool) {
	for _, m := range some {
		over = append(over, m.c.state >= stateDead || m.c.flags&flagInData != 0)
	}
	return over
}

func (w *simWorld) checkRefused(m *simConn, err error, over bool) {
	switch {
	case over != errors.Is(err, ErrBusy):
		w.fail("detach of", m.s.id, "which is over:", over, "says", err)
	case !over && !errors.Is(err, errSim) && !w.k.faults.fatal:
		w.fail("detach of", m.s.id, "says", err)
	}
}

// bringBack restores what was taken out.
func (w *simWorld) bringBack(p *simParcel) {
	w.parcels = slices.DeleteFunc(w.parcels, func(o *simParcel) bool { return o == p })
	r, err := w.l.NewRestore(p.messages)
	if err != nil {
		w.fail("the messages of DetachAll are none:", err)
	}
	before := w.returning
	w.returning = &simReturn{seen: map[*Message]bool{}, most: p.charge}
	for i, c := range p.carried {
		m := p.of[i]
		m.held = true
		m.readBefore, m.fresh = m.s.read, 0 // another loop may have another budget
		if _, err := r.Conn(c.FD, w, c.State, w.pickOptions(m.raw), c.Record); err != nil {
			w.k.trace("restore %d: %v", m.s.id, err)
			m.s.broken = true
			if errors.Is(err, ErrState) {
				w.fail("what DetachAll of", m.s.id, "returned is no state:", len(c.Record), "bytes")
			}
			if !m.closed { // Restored was called, so Closed has to be
				w.fail("restore of", m.s.id, "failed too late:", err)
			}
		}
	}
	for _, m := range p.of {
		m.held = false
	}
	r.Done()
	w.returning = before
}

// restart ends the loop, as the end of its process would, and begins another
// one with what was carried along.
func (w *simWorld) restart() {
	if r := ringOf(w.l); r != nil && r.failed != nil {
		return // the next wait says so
	}
	w.k.trace("restart")
	before := w.turn.happened
	w.takeOut(slices.Clone(w.conns))
	for i, ln := range w.lns {
		if !ln.closed {
			w.lns[i] = w.leaveListener(ln)
		}
	}
	for _, m := range w.conns {
		m.toldDrops = 0 // the end of a loop is as good as a turn
	}
	w.l.Close()
	w.checkLeft()
	w.timers, w.spent, w.posted, w.clients = nil, nil, 0, 0
	w.k.stale, w.k.staleSent, w.k.ring, w.k.edge = nil, 0, nil, true
	for _, f := range w.k.files {
		if f != nil {
			f.sending, f.told = false, 0
		}
	}
	w.k.clock += Time(w.rng.IntN(int(100 * time.Millisecond)))
	w.makeLoop([]simBackend{onEpoll, onRing}[w.rng.IntN(2)])
	for _, ln := range w.lns {
		if !ln.closed {
			w.listen(ln)
		}
	}
	for _, p := range slices.Clone(w.parcels) {
		w.bringBack(p)
	}
	w.restored = w.turn.happened - before
}

// leaveListener takes a listener out of the loop and leaves its descriptor
// open, and returns the one that is to take its place.
func (w *simWorld) leaveListener(ln *Listener) *Listener {
	ln.letGo()
	w.l.Cancel(ln.retry)
	w.l.listeners.remove(ln.slot)
	w.k.unregister(w.k.file("leave", ln.fd))
	next := &Listener{a: w, fd: ln.fd, kind: ln.kind, paused: ln.paused}
	w.paused[next] = w.paused[ln]
	return next
}

// checkLeft: a loop that has ended has nothing any more.
func (w *simWorld) checkLeft() {
	l := w.l
	switch {
	case len(w.conns) > 0:
		w.fail(len(w.conns), "connections never got Closed in the loop that has ended")
	case l.queued != 0:
		w.fail(l.queued, "bytes are still charged in the loop that has ended")
	case len(w.k.events) > 0:
		w.fail("registrations are left of the loop that has ended")
	}
	if w.k.ring != nil && !w.k.faults.fatal {
		w.checkRequests()
	}
}
