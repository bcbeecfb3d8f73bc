// SPDX-License-Identifier: Apache-2.0

package service

import (
	"penstock/daemon/internal/telnet"
	"penstock/daemon/internal/tty"
	"penstock/evloop"
)

// signature is who we say we are.
const signature = "penstock"

// asked does what a client asks of the port. Every answer says what holds then.
func (m *port) asked(c *evloop.Conn, r telnet.Request, before int) {
	t := callerOf(c).telnet
	answer := func(value uint32) { c.Write(telnet.AppendAnswer(nil, r.Command, value)) }
	switch r.Command {
	case telnet.Signature:
		c.Write(telnet.AppendSignature(nil, signature))
	case telnet.LineMask:
		t.errors = byte(r.Value)
		answer(r.Value)
		m.look()
	case telnet.ModemMask:
		t.modem = byte(r.Value)
		answer(r.Value)
		m.look()
	case telnet.ModemState:
		t.told = false // the answer is the news
		m.look()
	case telnet.Speed, telnet.Bits, telnet.Parity, telnet.Stop:
		m.setting(c, r, before)
	case telnet.Control:
		m.control(c, r, before)
	case telnet.Purge:
		m.purge(c, r, before)
	}
	// A client that wants to hear nothing for a while (Suspend) has a queue of its own.
}

// setting answers a request about a byte or the speed.
func (m *port) setting(c *evloop.Conn, r telnet.Request, before int) {
	d := m.device()
	if d == nil || r.Value == 0 || !m.hold(c) {
		var s tty.Settings
		if d != nil {
			s = d.Settings()
		}
		c.Write(telnet.AppendAnswer(nil, r.Command, valueOf(s, r.Command)))
		return
	}
	m.change(c, before, r, func(s tty.Settings) tty.Settings { return with(s, r) })
}

// change sets the line for c as to says, and answers r.
func (m *port) change(c *evloop.Conn, before int, r telnet.Request, to func(tty.Settings) tty.Settings) {
	var got tty.Settings
	m.ask(c, before, true, func() func(int) {
		if d := m.device(); d != nil {
			got = to(d.Settings())
		}
		s := got
		return func(fd int) {
			if is, err := tty.Change(fd, s); err == nil {
				got = is
			}
		}
	}, func() []byte {
		if d := m.device(); d != nil {
			d.Set(got)
		}
		value := valueOf(got, r.Command)
		if r.Command == telnet.Control {
			value = flowValue(got.Flow, r.Value)
		}
		return telnet.AppendAnswer(nil, r.Command, value)
	})
}

// with returns s with what r asks for, if a driver can do it.
func with(s tty.Settings, r telnet.Request) tty.Settings {
	switch v := r.Value; r.Command {
	case telnet.Speed:
		if v <= fastest {
			s.Speed = int(v)
		}
	case telnet.Bits:
		if v >= 5 && v <= 8 {
			s.Bits = int(v)
		}
	case telnet.Parity:
		if p, ok := parities[v]; ok {
			s.Parity = p
		}
	case telnet.Stop:
		if v == 1 || v == 2 {
			s.Stop = int(v)
		}
	}
	return s
}

// fastest is the highest speed that the configuration takes, too.
const fastest = 20_000_000

var parities = map[uint32]tty.Parity{
	telnet.ParityNone: tty.None, telnet.ParityOdd: tty.Odd, telnet.ParityEven: tty.Even,
	telnet.ParityMark: tty.Mark, telnet.ParitySpace: tty.Space,
}

// valueOf returns what a setting is in the protocol.
func valueOf(s tty.Settings, c telnet.PortCommand) uint32 {
	switch c {
	case telnet.Speed:
		return uint32(s.Speed)
	case telnet.Bits:
		return uint32(s.Bits)
	case telnet.Stop:
		return uint32(s.Stop)
	}
	for v, p := range parities {
		if p == s.Parity {
			return v
		}
	}
	return telnet.ParityNone
}

// flowValue returns the value of flow control, for the answer to a question in the group
// of asked.
func flowValue(f tty.Flow, asked uint32) uint32 {
	first := telnet.FlowNone
	if asked >= telnet.InflowAsk && asked <= telnet.InflowRTSCTS {
		first = telnet.InflowNone
	}
	return first + map[tty.Flow]uint32{tty.NoFlow: 0, tty.XONXOFF: 1, tty.RTSCTS: 2}[f]
}

// control answers a request about flow control, the break, DTR or RTS.
func (m *port) control(c *evloop.Conn, r telnet.Request, before int) {
	switch v := r.Value; {
	case v >= telnet.BreakAsk && v <= telnet.BreakOff:
		m.breaking(c, v, before)
	case v >= telnet.DTRAsk && v <= telnet.DTROff:
		m.level(c, dtr, v, before)
	case v >= telnet.RTSAsk && v <= telnet.RTSOff:
		m.level(c, rts, v, before)
	default:
		m.flow(c, r, before)
	}
}

// flow answers a request about flow control. What no driver does, such as that by DSR, is
// answered with what it does.
func (m *port) flow(c *evloop.Conn, r telnet.Request, before int) {
	d := m.device()
	flows := map[uint32]tty.Flow{telnet.FlowNone: tty.NoFlow, telnet.FlowXONXOFF: tty.XONXOFF, telnet.FlowRTSCTS: tty.RTSCTS}
	var s tty.Settings
	if d != nil {
		s = d.Settings()
	}
	if flow, ok := flows[r.Value]; ok && d != nil && m.hold(c) {
		m.change(c, before, r, func(s tty.Settings) tty.Settings {
			s.Flow = flow
			return s
		})
		return
	}
	c.Write(telnet.AppendAnswer(nil, telnet.Control, flowValue(s.Flow, r.Value)))
}

// breaking begins or ends a break, or says whether there is one.
func (m *port) breaking(c *evloop.Conn, v uint32, before int) {
	answer := func() []byte {
		value := telnet.BreakOff
		if m.breaks {
			value = telnet.BreakOn
		}
		return telnet.AppendAnswer(nil, telnet.Control, value)
	}
	if v == telnet.BreakAsk || !m.hold(c) {
		c.Write(answer())
		return
	}
	on := v == telnet.BreakOn
	failed := false
	do := func(fd int) { failed = tty.SetBreak(fd, on) != nil }
	m.ask(c, before, true, func() func(int) { return do }, func() []byte {
		m.breaks = on && !failed
		return answer()
	})
}

// An ours is a line of the cable that is ours to set.
type ours struct {
	ask uint32 // the question for it; after it come on and off
	set func(fd int, on bool) error
	is  func(tty.Levels) bool
	of  func(*tty.Settings) *tty.Line
}

var (
	dtr = ours{telnet.DTRAsk, tty.SetDTR, func(l tty.Levels) bool { return l.DTR }, func(s *tty.Settings) *tty.Line { return &s.DTR }}
	rts = ours{telnet.RTSAsk, tty.SetRTS, func(l tty.Levels) bool { return l.RTS }, func(s *tty.Settings) *tty.Line { return &s.RTS }}
)

// level sets DTR or RTS, or says how it is. A driver without such a line takes what it is
// told, and the device is opened so the next time.
func (m *port) level(c *evloop.Conn, o ours, v uint32, before int) {
	sets := v != o.ask && m.hold(c)
	on := true // as open(2) leaves it
	m.ask(c, before, sets, func() func(int) {
		if d := m.device(); d != nil {
			s := d.Settings()
			on = *o.of(&s) != tty.Off
		}
		if sets {
			on = v == o.ask+1
		}
		return func(fd int) {
			if sets {
				_ = o.set(fd, on)
			}
			if l, err := tty.ReadLevels(fd); err == nil {
				on = o.is(l)
			}
		}
	}, func() []byte {
		if sets {
			m.keep(o, on)
		}
		if on {
			return telnet.AppendAnswer(nil, telnet.Control, o.ask+1)
		}
		return telnet.AppendAnswer(nil, telnet.Control, o.ask+2)
	})
}

// keep has the device opened with the line so.
func (m *port) keep(o ours, on bool) {
	d := m.device()
	if d == nil {
		return
	}
	s := d.Settings()
	if *o.of(&s) = tty.Off; on {
		*o.of(&s) = tty.On
	}
	d.Set(s)
}

// purge discards what was written and not sent yet. What the line has received belongs to
// all clients: it is with them already.
func (m *port) purge(c *evloop.Conn, r telnet.Request, before int) {
	answer := telnet.AppendAnswer(nil, telnet.Purge, r.Value)
	if r.Value != telnet.PurgeOutput && r.Value != telnet.PurgeBoth || !m.hold(c) {
		c.Write(answer)
		return
	}
	m.ask(c, before, false, func() func(int) { return tty.DiscardOutput }, func() []byte { return answer })
}
