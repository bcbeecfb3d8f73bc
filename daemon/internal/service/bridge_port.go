// SPDX-License-Identifier: Apache-2.0

package service

import (
	"slices"
	"time"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/telnet"
	"penstock/daemon/internal/tty"
	"penstock/evloop"
)

// A port is a bridge's line as its clients see and set it (RFC 2217).
//
// All clients may ask. The first that sets something holds the line until it leaves, and
// for the others nothing changes: each gets the value that holds as the answer, which is
// the protocol's way to say no. A line that anybody could set would lose the words of all
// others; one that nobody else could look at would fail their clients, which set at the
// beginning what is set already.
//
// What the driver is asked may take as long as a USB adapter takes, so it is asked by a
// goroutine, one errand at a time. Of a device that is not there, or is no line, what is set
// is remembered, and it is opened so.
type port struct {
	b      *bridge
	holder *evloop.Conn // may set; nil: nobody has
	breaks bool         // the holder's break goes on

	errands []errand
	busy    bool

	looking bool
	timer   evloop.TimerID // of the next look at the line
	levels  tty.Levels     // as they were last
	counts  tty.Counts
}

// An errand is something to ask of the driver. When its turn comes, begin returns what a
// goroutine does then, and done is called when that is over, both on the loop.
type errand struct {
	sent  bool // after what was written before
	begin func() (do func(fd int))
	done  func()
}

// lookEvery is how often the lines of the other end are looked at, while a client wants to
// know. The kernel could wait for a change, but in a goroutine that nobody can end.
const lookEvery = 250 * time.Millisecond

// run has an errand done after those that wait.
func (m *port) run(e errand) {
	m.errands = append(m.errands, e)
	if !m.busy {
		m.next()
	}
}

func (m *port) next() {
	m.busy = false
	for !m.busy && len(m.errands) > 0 {
		e := m.errands[0]
		m.errands = slices.Delete(m.errands, 0, 1)
		m.busy = true
		do := e.begin()
		if s := m.device(); s != nil && s.Control(e.sent, do, func() { e.done(); m.next() }) {
			return
		}
		e.done()
		m.busy = false
	}
}

func (m *port) device() *deviceSource {
	s, _ := m.b.source.(*deviceSource)
	return s
}

// hold has c hold the line if nobody does, and reports whether it may set the line.
func (m *port) hold(c *evloop.Conn) bool {
	if m.holder == nil && m.b.keys.Write != config.WriteNone && m.device() != nil && m.b.holds(c) {
		m.holder = c
	}
	return m.holder == c
}

// leave forgets c. With the client that held the line the settings of the file come back;
// DTR and RTS stay, since a change of them resets boards.
func (m *port) leave(c *evloop.Conn) {
	if m.holder != c {
		return
	}
	m.holder = nil
	d := m.device()
	if d == nil || m.b.suspended {
		return
	}
	filed := d.Filed()
	m.run(errand{true, func() func(int) {
		broken := m.breaks
		filed = d.Filed()
		return func(fd int) {
			if broken {
				_ = tty.SetBreak(fd, false)
			}
			_, _ = tty.Change(fd, filed) // a line that has gone is opened so
		}
	}, func() {
		m.breaks = false
		d.Set(filed)
	}})
}

// ask has an errand done for c, which is paused until then, and answers it. The request begins
// behind so many bytes of the input.
func (m *port) ask(c *evloop.Conn, before int, sent bool, begin func() func(int), answer func() []byte) {
	t := callerOf(c).telnet
	id, after := c.ID(), t.acted
	t.asks, t.acted = true, before
	c.Pause()
	m.run(errand{sent, begin, func() {
		p := answer()
		c := m.b.loop.Conn(id)
		if c == nil {
			return
		}
		t.asks, t.acted = false, after
		if p != nil && !c.Closing() {
			c.Write(p)
		}
		c.Resume()
	}})
}

// Expired looks at the line.
func (m *port) Expired(*evloop.Loop, evloop.Timer) {
	m.timer = evloop.TimerID{}
	m.look()
}

// look has the lines of the other end and the errors looked at, now and again and again
// while somebody wants to know.
func (m *port) look() {
	if m.looking || !m.timer.IsZero() && !m.anyUntold() || !m.anyWatching() {
		return
	}
	m.looking = true
	now, counts := m.levels, m.counts
	m.run(errand{false, func() func(int) {
		return func(fd int) {
			now, _ = tty.ReadLevels(fd) // a line without them says nothing by them
			counts, _ = tty.Count(fd)
		}
	}, func() {
		m.looking = false
		m.tell(now, counts)
		if m.timer.IsZero() {
			m.timer = m.b.loop.Schedule(evloop.Timer{Deadline: m.b.loop.Now().Add(lookEvery), Handler: m})
		}
	}})
}

func (m *port) anyWatching() bool {
	return slices.ContainsFunc(m.b.fan.members, func(c *evloop.Conn) bool {
		t := callerOf(c).telnet
		return t.options.Port() && (t.modem|t.errors != 0 || !t.told)
	})
}

func (m *port) anyUntold() bool {
	return slices.ContainsFunc(m.b.fan.members, func(c *evloop.Conn) bool {
		t := callerOf(c).telnet
		return t.options.Port() && !t.told
	})
}

// tell tells those that want to know what has changed, and newcomers how it is.
func (m *port) tell(now tty.Levels, counts tty.Counts) {
	state := modemState(now)
	changed := byte(state^modemState(m.levels)) >> 4
	failed := lineState(counts.Sub(m.counts))
	m.levels, m.counts = now, counts
	for _, c := range m.b.fan.members {
		t := callerOf(c).telnet
		if !t.options.Port() || c.Closing() {
			continue
		}
		var p []byte
		if news := changed & (t.modem | t.modem>>4); news != 0 || !t.told {
			p = telnet.AppendAnswer(p, telnet.ModemState, state|uint32(changed))
		}
		if t.told && failed&t.errors != 0 {
			p = telnet.AppendAnswer(p, telnet.LineState, uint32(failed&t.errors))
		}
		t.told = true
		if p != nil {
			c.Write(p)
		}
	}
}

func modemState(l tty.Levels) (n uint32) {
	for bit, on := range map[uint32]bool{telnet.Carrier: l.Carrier, telnet.Ring: l.Ring, telnet.DSR: l.DSR, telnet.CTS: l.CTS} {
		if on {
			n |= bit
		}
	}
	return n
}

func lineState(c tty.Counts) (n byte) {
	for bit, count := range map[uint32]uint64{
		telnet.LineBreak: c.Break, telnet.LineFrame: c.Frame, telnet.LineParity: c.Parity, telnet.LineOverrun: c.Overrun,
	} {
		if count > 0 {
			n |= byte(bit)
		}
	}
	return n
}
