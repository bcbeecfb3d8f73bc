// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// What handlers do in a history: simWorld serves all connections itself,
// checks each callback against the model and then does something at random to
// any connection, listener or timer of the loop.

var errSim = errors.New("a reason of the handler")

// call brackets a callback: they are never nested.
func (w *simWorld) call(m *simConn, name string) func() {
	if w.calling != "" {
		w.fail(name, "inside", w.calling)
	}
	w.calling = name
	if m != nil {
		w.k.trace("%s %d", name, m.s.id)
	}
	return func() { w.calling = "" }
}

func (w *simWorld) Accept(ln *Listener, fd int, _ netip.AddrPort) (Handler, any) {
	defer w.call(nil, "Accept")()
	if w.paused[ln] || w.closedLn[ln] {
		w.fail("accepted although paused or closed")
	}
	s := w.k.file("Accept", fd).sock
	if w.chance(20) {
		s.broken = true // nobody will serve it
		return nil, nil
	}
	if w.chance(10) {
		w.act(nil)
	}
	return w, &simConn{w: w, s: s, raw: w.chance(3), ln: true}
}

func (w *simWorld) Failed(ln *Listener, err error) {
	defer w.call(nil, "Failed")()
	w.k.trace("Failed: %v", err)
	if short := ln.retry != 0; short == ln.Dead() {
		w.fail("listener neither retries nor is dead, or both:", err)
	}
}

func (w *simWorld) Open(c *Conn) {
	m := c.State.(*simConn)
	defer w.call(m, "Open")()
	if m.opened || m.s.file.closed {
		w.fail("Open of", m.s.id, "twice or too late")
	}
	m.c, m.opened, m.s.conn = c, true, m
	w.conns = append(w.conns, m)
	m.options(w.pickOptions(m.raw))
	w.act(m)
}

func (w *simWorld) Data(c *Conn, p []byte) int {
	m := c.State.(*simConn)
	defer w.call(m, "Data")()
	m.data(p)
	n := len(p)
	switch {
	case w.quiet:
	case w.chance(4):
		n = w.rng.IntN(len(p) + 1)
	case w.chance(6) && len(p) < 40<<10:
		n = 0
	}
	if m.raw {
		n = w.echo(m, p[:n])
	} else if !w.quiet {
		for range w.rng.IntN(4) {
			w.write(m)
		}
	}
	for w.chance(4) {
		w.act(m)
	}
	if n < len(p) && w.chance(4) {
		m.mayReplay, m.mustReplay = true, true
		c.Yield()
	}
	m.consumed += n
	m.overfull = m.overfull || len(p)-n > c.opts.maxInput()
	return n
}

// echo sends back what it consumes, cut at random, and often stops when the
// queue is full.
func (w *simWorld) echo(m *simConn, p []byte) (n int) {
	for n < len(p) {
		if m.c.Full() && w.chance(2) {
			break
		}
		k := min(len(p)-n, w.size())
		part := p[n : n+k]
		n += k
		write := func() bool { return m.c.Write(part) }
		if w.chance(2) {
			write = func() bool { return m.c.WriteStatic(part) }
		}
		if !m.output(k, write) {
			break
		}
	}
	return n
}

func (w *simWorld) EOF(c *Conn) {
	m := c.State.(*simConn)
	defer w.call(m, "EOF")()
	switch {
	case !m.opened || m.closed || m.eof || m.ended || c.Closing() || m.paused:
		w.fail("EOF of", m.s.id, "twice, while paused or after its end")
	case m.s.read < m.s.sent || !m.s.finIn && !m.s.gone:
		w.fail("EOF of", m.s.id, "before", m.s.sent-m.s.read, "bytes")
	}
	m.eof = true
	switch {
	case w.quiet:
		w.finish(m, time.Hour, nil)
	case w.chance(2):
		w.write(m)
		w.finish(m, time.Duration(w.rng.IntN(int(2*time.Second))), nil)
	default:
		w.act(m)
	}
}

func (w *simWorld) Drained(c *Conn) {
	m := c.State.(*simConn)
	defer w.call(m, "Drained")()
	if !m.opened || m.closed || m.ended {
		w.fail("Drained of", m.s.id, "after its end")
	}
	m.mayReplay = true
	w.act(m)
}

func (w *simWorld) Dropped(c *Conn, messages, bytes int) {
	m := c.State.(*simConn)
	defer w.call(m, "Dropped")()
	if m.closed || messages <= 0 || bytes < messages {
		w.fail("Dropped of", m.s.id, messages, bytes)
	}
	m.droppedN += messages
	m.lost += bytes
}

func (w *simWorld) Closed(c *Conn, err error) {
	m := c.State.(*simConn)
	defer w.call(m, "Closed")()
	w.k.trace("closed with %v", err)
	m.checkEnd(err)
	w.conns = slices.DeleteFunc(w.conns, func(o *simConn) bool { return o == m })
	w.timers = slices.DeleteFunc(w.timers, func(t simTimer) bool { return t.conn == m })
	if w.chance(3) && !w.l.closed {
		w.act(nil)
	}
}

// A simTimer is a timer that should expire.
type simTimer struct {
	id   TimerID
	at   Time
	kind int
	conn *simConn
	turn uint64 // in which it was armed
}

func (w *simWorld) Expired(l *Loop, t Timer) {
	defer w.call(nil, "Expired")()
	i := slices.IndexFunc(w.timers, func(s simTimer) bool { return s.kind == t.Kind })
	switch {
	case i < 0:
		w.fail("timer", t.Kind, "expired twice or after Cancel or Closed")
	case w.timers[i].at != t.Deadline || l.Now() < t.Deadline:
		w.fail("timer", t.Kind, "expired too early")
	case w.timers[i].turn == l.stats.Turns:
		w.fail("timer", t.Kind, "expired in the turn in which it was armed")
	case w.timers[i].conn != nil && l.Conn(t.Conn) != w.timers[i].conn.c:
		w.fail("timer", t.Kind, "without its connection")
	}
	w.spent = append(w.spent, w.timers[i].id)
	w.timers = slices.Delete(w.timers, i, i+1)
	w.act(nil)
}

func (w *simWorld) schedule(m *simConn) {
	w.serial++
	t := Timer{Deadline: w.l.now + Time(w.rng.IntN(20)-4)*Time(time.Millisecond), Kind: w.serial, Handler: w}
	s := simTimer{at: t.Deadline, kind: t.Kind, turn: w.l.stats.Turns}
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

// act does one thing to self or to anybody else.
func (w *simWorld) act(self *simConn) {
	m := self
	if m == nil || w.chance(2) {
		if m = nil; len(w.conns) > 0 {
			m = w.conns[w.rng.IntN(len(w.conns))]
		}
	}
	if w.quiet || m == nil {
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
	case 18:
		w.cancel()
	case 19:
		w.actOnLoop()
	case 20:
		w.detach(m)
	case 21:
		for n := w.rng.IntN(3) / 2 * w.rng.IntN(100); n > 0; n-- {
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
	fd, saved, err := m.c.Detach()
	w.k.trace("detach %d: %v", m.s.id, err)
	if err != nil {
		return
	}
	w.away = append(w.away, m)
	w.posted++
	w.l.Post(func() {
		w.posted--
		if _, err := w.l.Restore(fd, w, m, saved); err != nil {
			w.k.trace("restore %d: %v", m.s.id, err)
			m.s.broken = true
			if !m.closed { // Restored was called, so Closed has to be
				w.fail("restore of", m.s.id, "failed too late:", err)
			}
		}
	})
}

func (w *simWorld) Saved(c *Conn) ([]byte, error) {
	if w.chance(8) {
		return nil, errSim
	}
	return fmt.Append(nil, c.State.(*simConn).s.id), nil
}

func (w *simWorld) Restored(c *Conn, state []byte) error {
	m := c.State.(*simConn)
	defer w.call(m, "Restored")()
	if !m.closed || string(state) != fmt.Sprint(m.s.id) || c.FD() != m.s.file.fd {
		w.fail("restored", m.s.id, "from", string(state))
	}
	w.away = slices.DeleteFunc(w.away, func(o *simConn) bool { return o == m })
	w.conns = append(w.conns, m)
	m.c, m.closed = c, false
	m.merges = true // how many messages lie in one buffer is not saved
	m.options(w.pickOptions(m.raw))
	w.act(m)
	return nil
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
		w.l.SetLimits(1+w.rng.IntN(12), w.memory())
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
			m.lastData = w.l.now // the pause does not count
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
	p := msg.bytes()
	m.send(msg, func() bool {
		if w.chance(2) {
			return m.c.WriteStatic(p)
		}
		ok := m.c.Write(p)
		clear(p) // it is the caller's again
		return ok
	})
}

// share sends one message to several.
func (w *simWorld) share() {
	w.serial++
	msg := simMessage{uint32(w.serial), simHead + w.size()}
	shared := NewMessage(msg.bytes())
	for _, m := range w.conns {
		if w.chance(2) {
			m.send(msg, func() bool { return m.c.Send(shared) })
		}
	}
}
