// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// The callbacks of a history: simWorld serves all connections itself, checks
// each call against the model and then has act do something at random.

var errSim = errors.New("a reason of the handler")

// call brackets a callback: they are never nested.
func (w *simWorld) call(m *simConn, name string) func() {
	if w.calling != "" {
		w.fail(name, "inside", w.calling)
	}
	if w.returning != nil && name != "Restored" {
		w.fail(name, "while connections are brought back")
	}
	w.calling = name
	if name != "Dropped" {
		w.turn.happened++
	}
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
	w.admitted(ln)
	s := w.k.file("Accept", fd).sock
	if w.chance(10) && ln.PutOff() {
		if w.chance(4) {
			w.act(nil)
		}
		return w, nil // is not looked at
	}
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
	if short := !ln.retry.IsZero(); short == ln.Dead() {
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
	m.lastData, m.lastWire = w.k.clock, w.k.clock
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
		for n := w.rng.IntN(4); n > 0 && !w.defers(); n-- {
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

// echo sends back what it consumes, cut at random, and stops when the queue is
// full: so it must lose nothing.
func (w *simWorld) echo(m *simConn, p []byte) (n int) {
	for n < len(p) {
		if m.c.Full() && m.c.opts.Overflow == Pause {
			break
		}
		if w.defers() {
			m.mayReplay, m.mustReplay = true, true
			m.c.Yield()
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
	case m.shown < m.s.sent || !m.s.finIn && !m.s.gone:
		w.fail("EOF of", m.s.id, "before", m.s.sent-m.shown, "bytes")
	case !m.s.finIn && m.s.kind.isSocket() && m.s.kind.isStream() && !m.s.broken:
		w.fail("EOF of", m.s.id, "which was reset")
	}
	m.eof = true
	switch {
	case w.quiet:
		w.finish(m, time.Hour, nil)
	case w.chance(2):
		if !w.defers() {
			w.write(m)
		}
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
	m.drainDue = false
	m.mayReplay = true
	if m.raw && !m.paused {
		c.Resume() // a relay was paused by the loop
	}
	w.act(m)
}

// Relay has an echo be a relay to itself, at times.
func (w *simWorld) Relay(c *Conn) *Conn {
	if m := c.State.(*simConn); m.raw && !w.chance(4) {
		return c
	}
	return nil
}

func (w *simWorld) Dropped(c *Conn, messages, bytes int) {
	m := c.State.(*simConn)
	defer w.call(m, "Dropped")()
	if m.closed || messages <= 0 || bytes < messages {
		w.fail("Dropped of", m.s.id, messages, bytes)
	}
	w.turn.told++
	m.droppedN += messages
	m.lost += bytes
	if turn := w.l.stats.Turns; m.toldIn != turn { // it may have been away, or dead, when the last one ended
		m.toldDrops, m.toldIn = 0, turn
	}
	if m.toldDrops++; m.toldDrops > w.turn.happened+w.k.faults.calls-w.turn.faults {
		w.fail("Dropped of", m.s.id, m.toldDrops, "times in a turn in which less has happened")
	}
	if !w.quiet && !w.defers() && w.chance(2) { // to itself, and to others that are as full
		w.write(m)
		w.share()
	}
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

func (w *simWorld) Expired(l *Loop, t Timer) {
	w.turn.timers++
	w.begins(w.turn.timers, "timers")
	defer w.call(nil, "Expired")()
	i := slices.IndexFunc(w.timers, func(s simTimer) bool { return s.kind == t.Kind })
	switch {
	case i < 0:
		w.fail("timer", t.Kind, "expired twice or after Cancel or Closed")
	case w.timers[i].at != t.Deadline || l.Now() < t.Deadline:
		w.fail("timer", t.Kind, "expired too early")
	case w.timers[i].armed == l.now:
		w.fail("timer", t.Kind, "expired in the turn in which it was armed")
	case w.timers[i].conn != nil && l.Conn(t.Conn) != w.timers[i].conn.c:
		w.fail("timer", t.Kind, "without its connection")
	}
	w.spent = append(w.spent, w.timers[i].id)
	w.timers = slices.Delete(w.timers, i, i+1)
	w.act(nil)
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
	if queue, _ := w.queues(c); queue > m.carriedQueue {
		w.fail("the queue of", m.s.id, "took", m.carriedQueue, "bytes before DetachAll, and", queue, "after Restore")
	}
	if w.returning.count(w, c); w.returning.charge > w.returning.most {
		w.fail("the queues took", w.returning.most, "bytes before DetachAll, and", w.returning.charge, "after Restore")
	}
	m.c, m.closed, m.owed = c, false, false
	m.toldDrops, m.toldIn = 0, w.l.stats.Turns
	m.options(w.pickOptions(m.raw))
	w.act(m)
	return nil
}
