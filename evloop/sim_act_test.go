// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"errors"
	"slices"
	"time"
)

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
	what := w.rng.IntN(24)
	w.k.trace("act %d on %d", what, m.s.id)
	switch what {
	case 0, 1:
		m.c.Pause()
		m.paused = m.paused || m.c.state < stateDead // not after Detach
	case 2, 3, 4:
		w.resume(m)
	case 5, 6, 7, 8, 9:
		w.write(m)
	case 10, 11:
		w.share()
	case 12:
		w.finish(m, time.Duration(w.rng.IntN(int(2*time.Second))), []error{nil, errSim}[w.rng.IntN(2)])
	case 13:
		if w.chance(4) {
			w.abort(m, []error{nil, errSim}[w.rng.IntN(2)])
		}
	case 14:
		m.options(w.pickOptions(m.raw))
	case 15, 16, 17:
		w.schedule(m)
		for n := w.rng.IntN(10) / 9 * 3 * fewest; n > 0; n-- {
			w.schedule(nil) // more than a turn without work serves
		}
	case 18:
		w.cancel()
	case 19:
		w.actOnLoop()
	case 20:
		w.detach(m)
	case 22:
		if m.c.state == stateDead {
			break // it was idle before, and waits for Closed
		}
		m.owed = !m.owed
		m.c.HoldIdle(m.owed)
		m.lastData = w.k.clock
	case 21:
		for n := w.rng.IntN(3) / 2 * w.rng.IntN(100); n > 0 && !w.defers(); n-- {
			w.write(m) // more than one send takes
		}
	}
}

// detach carries m over to a new Conn of the loop in a later turn.
func (w *simWorld) detach(m *simConn) {
	if m.s.kind&kindTCP == 0 {
		return // what a simulated loop adopts is TCP
	}
	if w.chance(4) {
		w.finish(m, time.Duration(w.rng.IntN(int(time.Second))), nil)
	}
	m.drainDue = m.drainDue || m.c.Full()
	queue, _ := w.queues(m.c)
	if g := &w.l.gather; g.c == m.c {
		queue += int64(g.bytes + len(g.pieces)*(simNodeSize+simMessageSize+simLeastBuffer))
	}
	fd, saved, err := m.c.Detach()
	w.k.trace("detach %d: %v", m.s.id, err)
	if err != nil {
		return
	}
	m.carriedQueue = queue
	w.away = append(w.away, m)
	w.posted++
	w.l.Post(func() {
		w.posted--
		if _, err := w.l.Restore(fd, w, m, w.pickOptions(m.raw), saved); err != nil {
			w.k.trace("restore %d: %v", m.s.id, err)
			m.s.broken = true
			if errors.Is(err, ErrState) {
				w.fail("what Detach of", m.s.id, "returned is no state:", len(saved), "bytes")
			}
			if !m.closed { // Restored was called, so Closed has to be
				w.fail("restore of", m.s.id, "failed too late:", err)
			}
		}
	})
}

// actOnLoop does something that concerns all connections.
func (w *simWorld) actOnLoop() {
	switch ln := w.lns[w.rng.IntN(len(w.lns))]; w.rng.IntN(10) {
	case 0, 1:
		ln.Pause()
		w.paused[ln] = true
	case 2, 3, 4:
		ln.Resume()
		w.paused[ln] = false
	case 5:
		memory := w.memory()
		before := w.allDebts()
		w.l.SetLimits(1+w.rng.IntN(12), memory)
		w.checkPayers(before, nil)
	case 6:
		if w.chance(4) {
			ln.Close()
			w.closedLn[ln] = true
		}
	case 7:
		for c := range w.l.Conns() {
			if w.chance(8) {
				w.abort(c.State.(*simConn), nil)
			}
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

func (w *simWorld) abort(m *simConn, reason error) {
	before := m.c.reason
	dead := m.c.state >= stateDead
	m.c.Abort(reason)
	switch {
	case dead && m.c.reason != before:
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
	if s.id = w.l.Schedule(t); s.id == 0 {
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
