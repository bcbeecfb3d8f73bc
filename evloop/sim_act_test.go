// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"math/rand/v2"
	"slices"
	"time"
)

// A simChoice is one of several things that may happen in a history, weight
// times out of the sum of all weights. Its name is what the trace says.
type simChoice[F any] struct {
	weight int
	name   string
	what   F
}

// pick draws one of the choices.
func pick[F any](rng *rand.Rand, choices []simChoice[F]) simChoice[F] {
	sum := 0
	for _, c := range choices {
		sum += c.weight
	}
	n := rng.IntN(sum)
	for _, c := range choices {
		if n -= c.weight; n < 0 {
			return c
		}
	}
	panic("no choice")
}

// simActs is what a handler may do to a connection.
var simActs = []simChoice[func(*simWorld, *simConn)]{
	{2, "pause", (*simWorld).pause},
	{3, "resume", (*simWorld).resume},
	{5, "write", (*simWorld).write},
	{2, "share", func(w *simWorld, _ *simConn) { w.share() }},
	{1, "finish", func(w *simWorld, m *simConn) { w.finish(m, time.Duration(w.rng.IntN(int(2*time.Second))), w.reason()) }},
	{1, "close write", (*simWorld).closeWrite},
	{1, "abort", (*simWorld).abortSome},
	{1, "set options", func(w *simWorld, m *simConn) { m.options(w.pickOptions(m.raw)) }},
	{3, "schedule", (*simWorld).scheduleSome},
	{1, "cancel a timer", func(w *simWorld, _ *simConn) { w.cancel() }},
	{1, "act on the loop", func(w *simWorld, _ *simConn) { w.actOnLoop() }},
	{1, "detach", (*simWorld).detach},
	{1, "write much", (*simWorld).writeMuch},
	{1, "hold idle", (*simWorld).holdIdle},
	{1, "nothing", func(*simWorld, *simConn) {}},
}

// act does one thing to self or to anybody else.
func (w *simWorld) act(self *simConn) {
	m := self
	if m == nil || w.chance(2) {
		if m = nil; len(w.conns) > 0 {
			m = w.conns[w.rng.IntN(len(w.conns))]
		}
	}
	if w.quiet || m == nil || w.defers() {
		return
	}
	c := pick(w.rng, simActs)
	w.k.trace("%s on %d", c.name, m.s.id)
	c.what(w, m)
}

func (w *simWorld) pause(m *simConn) {
	m.c.Pause()
	m.paused = m.paused || m.c.state < stateDead // not after Detach
}

// reason draws what a connection is ended with.
func (w *simWorld) reason() error { return []error{nil, errSim}[w.rng.IntN(2)] }

func (w *simWorld) abortSome(m *simConn) {
	if w.chance(4) {
		w.abort(m, w.reason())
	}
}

// scheduleSome arms one timer, or now and then more than a turn without work
// serves.
func (w *simWorld) scheduleSome(m *simConn) {
	w.schedule(m)
	for n := w.rng.IntN(10) / 9 * 3 * fewest; n > 0; n-- {
		w.schedule(nil)
	}
}

// writeMuch writes nothing, or more than one send takes.
func (w *simWorld) writeMuch(m *simConn) {
	for n := w.rng.IntN(3) / 2 * w.rng.IntN(100); n > 0 && !w.defers(); n-- {
		w.write(m)
	}
}

func (w *simWorld) holdIdle(m *simConn) {
	if m.c.state == stateDead {
		return // it was idle before, and waits for Closed
	}
	m.owed = !m.owed
	m.c.HoldIdle(m.owed)
	m.lastData = w.k.clock
}

// simLoopActs is what a handler may do that concerns all connections, with
// one of the listeners at hand.
var simLoopActs = []simChoice[func(*simWorld, *Listener)]{
	{2, "pause a listener", func(w *simWorld, ln *Listener) { ln.Pause(); w.paused[ln] = true }},
	{3, "resume a listener", func(w *simWorld, ln *Listener) { ln.Resume(); w.paused[ln] = false }},
	{1, "set limits", func(w *simWorld, _ *Listener) { w.setLimits() }},
	{1, "close a listener", (*simWorld).closeListener},
	{1, "abort many", func(w *simWorld, _ *Listener) { w.abortMany() }},
	{2, "nothing", func(*simWorld, *Listener) {}},
}

func (w *simWorld) actOnLoop() {
	ln := w.lns[w.rng.IntN(len(w.lns))]
	c := pick(w.rng, simLoopActs)
	w.k.trace("%s", c.name)
	c.what(w, ln)
}

func (w *simWorld) setLimits() {
	memory := w.memory()
	before := w.allDebts()
	w.l.SetLimits(1+w.rng.IntN(12), memory)
	w.checkPayers(before, nil)
}

func (w *simWorld) closeListener(ln *Listener) {
	if w.chance(4) {
		ln.Close()
		w.closedLn[ln] = true
	}
}

func (w *simWorld) abortMany() {
	for c := range w.l.Conns() {
		if w.chance(8) {
			w.abort(c.State.(*simConn), nil)
		}
	}
}

func (w *simWorld) resume(m *simConn) {
	if m.paused && m.c.state < stateDead {
		m.mayReplay, m.mustReplay = true, true
		m.paused = false
		if m.c.opts.Overflow != Pause || !m.c.Full() {
			m.lastData = w.k.clock // the pause does not count
		}
	}
	m.c.Resume()
}

func (w *simWorld) finish(m *simConn, timeout time.Duration, reason error) {
	if !m.c.Closing() {
		m.ended, m.reason = true, reason
	}
	m.c.CloseAfterFlush(timeout, reason)
}

func (w *simWorld) closeWrite(m *simConn) {
	m.shut = m.shut || m.c.state == stateOpen && m.c.kind.halfCloses()
	m.c.CloseWrite()
}

func (w *simWorld) abort(m *simConn, reason error) {
	before := m.c.reason()
	dead := m.c.state >= stateDead
	m.c.Abort(reason)
	switch {
	case dead && m.c.reason() != before:
		w.fail("the reason of an end was replaced by", reason)
	case !dead:
		m.ended, m.aborted, m.reason = true, true, reason
		if reason == nil {
			m.reason = ErrAborted
		}
	}
}

// write sends a message of its own to m.
func (w *simWorld) write(m *simConn) {
	w.serial++
	msg := simMessage{uint32(w.serial), simHead + w.size()}
	m.send(msg, func() bool {
		if w.chance(2) {
			return m.c.WriteStatic(msg.bytes())
		}
		p := msg.appendTo(w.scratch[:0])
		w.scratch = nil // a write may lead to another one
		ok := m.c.Write(p)
		clear(p) // it is the caller's again
		w.scratch = p
		return ok
	})
}

// share sends one message to several.
func (w *simWorld) share() {
	w.serial++
	msg := simMessage{uint32(w.serial), simHead + w.size()}
	shared := NewMessage(msg.bytes())
	for _, m := range w.conns {
		if w.chance(2) && !w.defers() {
			m.send(msg, func() bool { return m.c.Send(shared) })
		}
	}
}

// A simTimer is a timer that should expire.
type simTimer struct {
	id    TimerID
	at    Time
	kind  int
	conn  *simConn
	armed Time // its l.Now
}

func (w *simWorld) schedule(m *simConn) {
	w.serial++
	t := Timer{Deadline: w.l.now + Time(w.rng.IntN(20)-4)*Time(time.Millisecond), Kind: w.serial, Handler: w}
	s := simTimer{at: t.Deadline, kind: t.Kind, armed: w.l.now}
	if m != nil && w.chance(2) {
		t.Conn, s.conn = m.c.ID(), m
	}
	if s.id = w.l.Schedule(t); s.id.IsZero() {
		w.fail("timer not armed")
	}
	w.timers = append(w.timers, s)
}

func (w *simWorld) cancel() {
	if n := len(w.spent); n > 0 && w.l.Cancel(w.spent[w.rng.IntN(n)]) {
		w.fail("a timer that has expired was cancelled")
	}
	if len(w.timers) == 0 {
		return
	}
	i := w.rng.IntN(len(w.timers))
	id := w.timers[i].id
	if !w.l.Cancel(id) || w.l.Cancel(id) {
		w.fail("an armed timer must be cancelled once")
	}
	w.spent = append(w.spent, id)
	w.timers = slices.Delete(w.timers, i, i+1)
}
