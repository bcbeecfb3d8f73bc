// SPDX-License-Identifier: Apache-2.0

package service

import (
	"errors"

	"penstock/daemon/internal/record"
	"penstock/daemon/internal/telnet"
	"penstock/daemon/internal/tty"
	"penstock/evloop"
)

// At a restart the line stays as a client has set it, and that client goes on to hold it. A
// request that is under way is not acted upon yet, so the next process does it.

// save writes what a client has set; m may be nil.
func (m *port) save(w *record.Writer) {
	var s tty.Settings
	if m != nil && m.device() != nil && m.device().Settings() != m.device().Filed() {
		s = m.device().Settings()
	}
	for _, n := range []int{s.Speed, s.Bits, int(s.Parity), s.Stop, int(s.Flow), int(s.DTR), int(s.RTS)} {
		w.Number(uint64(n))
	}
	w.Bool(m != nil && m.breaks)
	w.Bool(m != nil)
}

// A portState is what save has written.
type portState struct {
	set    [7]uint64
	breaks bool
	telnet bool // clients speak it, and the history is escaped
}

func readPort(in *record.Reader) (s portState) {
	for i := range s.set {
		s.set[i] = in.Number()
	}
	s.breaks = in.Bool()
	s.telnet = in.Bool()
	return s
}

// load takes what the former process has written; m may be nil. What no client has set is
// as the file says.
func (m *port) load(s portState) {
	if m == nil || m.device() == nil {
		return
	}
	m.breaks = s.breaks
	n := s.set
	if n[0] < 1 || n[0] > fastest || n[1] < 5 || n[1] > 8 || n[3] < 1 || n[3] > 2 || n[4] > uint64(tty.XONXOFF) {
		return
	}
	d := m.device()
	set := d.Filed()
	set.Speed, set.Bits, set.Parity, set.Stop = int(n[0]), int(n[1]), tty.Parity(n[2]), int(n[3])
	set.Flow, set.DTR, set.RTS = tty.Flow(n[4]), tty.Line(n[5]), tty.Line(n[6])
	d.Set(set)
}

// saveTerminal writes what is remembered of a client that speaks TELNET.
func saveTerminal(w *record.Writer, t *terminal, holds bool) {
	w.Bool(t != nil)
	if t == nil {
		return
	}
	for _, b := range t.options.Bytes() {
		w.Number(uint64(b))
	}
	w.Number(uint64(t.modem))
	w.Number(uint64(t.errors))
	w.Number(uint64(t.acted))
	w.Bool(t.told)
	w.Bool(holds)
}

// readTerminal returns what saveTerminal has written; nil: none.
func readTerminal(in *record.Reader) (t *terminal, holds bool) {
	if !in.Bool() {
		return nil, false
	}
	var options [4]byte
	for i := range options {
		options[i] = byte(in.Number())
	}
	t = &terminal{options: telnet.OptionsOf(options), modem: byte(in.Number()), errors: byte(in.Number())}
	t.acted = int(min(in.Number(), evloop.DefaultMaxInput))
	t.told = in.Bool()
	return t, in.Bool()
}

// errTelnet means that the clients and the history are those of a service that has begun,
// or ceased, to speak TELNET. A reload makes another service of it as well.
var errTelnet = errors.New("telnet has changed")

// join has a client of the former process go on; m may be nil.
func (m *port) join(c *evloop.Conn, t *terminal, holds bool) *terminal {
	switch {
	case m == nil:
		return nil
	case t == nil:
		return new(terminal)
	case holds:
		m.holder = c
	}
	return t
}
