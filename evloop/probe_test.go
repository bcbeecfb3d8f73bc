// SPDX-License-Identifier: Apache-2.0

package evloop

import "testing"

// A probe is a Handler that does what a test asks of it, remembers what each
// connection was told, and holds the loop to the order of callbacks that
// Handler documents. So every case of the suite checks that order.
type probe struct {
	t      *testing.T
	conns  map[*Conn]*history
	inside bool // a callback; Open aside, which Add calls inside any other

	onOpen, onEOF, onDrained func(*Conn)
	onDropped                func(*Conn)
	onData                   func(*Conn, []byte) int // nil: consume everything
	onClosed                 func(*Conn, error)
	onAny                    func(c *Conn, callback string) // before the others
}

// A history is what one connection was told so far.
type history struct {
	opened, eof, closed bool
	err                 error  // of Closed
	got                 []byte // what Data consumed
	calls               int    // of Data
	drained             int    // calls of Drained
	messages, bytes     int    // reported as dropped
	reports             int    // calls of Dropped
}

func newProbe(t *testing.T) *probe {
	return &probe{t: t, conns: map[*Conn]*history{}}
}

// of returns what c was told.
func (p *probe) of(c *Conn) *history {
	h := p.conns[c]
	if h == nil {
		h = &history{}
		p.conns[c] = h
	}
	return h
}

// during brackets a callback.
func (p *probe) during(c *Conn, name string, reads bool) (*history, func()) {
	h := p.of(c)
	switch {
	case p.inside:
		p.t.Errorf("%s inside another callback", name)
	case !h.opened || h.closed:
		p.t.Errorf("%s before Open or after Closed", name)
	case reads && c.flags&flagPaused != 0:
		p.t.Errorf("%s while paused", name)
	case reads && c.Closing():
		p.t.Errorf("%s after the end has begun", name)
	}
	p.inside = true
	p.any(c, name)
	return h, func() { p.inside = false }
}

func (p *probe) any(c *Conn, callback string) {
	if p.onAny != nil {
		p.onAny(c, callback)
	}
}

func (p *probe) Open(c *Conn) {
	h := p.of(c)
	if h.opened {
		p.t.Error("Open twice")
	}
	h.opened = true
	p.any(c, "Open")
	if p.onOpen != nil {
		p.onOpen(c)
	}
}

func (p *probe) Data(c *Conn, b []byte) int {
	h, end := p.during(c, "Data", true)
	defer end()
	if len(b) == 0 {
		p.t.Error("Data without bytes")
	}
	h.calls++
	n := len(b)
	if p.onData != nil {
		n = p.onData(c, b)
	}
	if n >= 0 && n <= len(b) {
		h.got = append(h.got, b[:n]...)
	}
	return n
}

func (p *probe) EOF(c *Conn) {
	h, end := p.during(c, "EOF", true)
	defer end()
	if h.eof {
		p.t.Error("EOF twice")
	}
	h.eof = true
	if p.onEOF != nil {
		p.onEOF(c)
	}
}

func (p *probe) Drained(c *Conn) {
	h, end := p.during(c, "Drained", false)
	defer end()
	h.drained++
	if p.onDrained != nil {
		p.onDrained(c)
	}
}

func (p *probe) Dropped(c *Conn, messages, bytes int) {
	h, end := p.during(c, "Dropped", false)
	defer end()
	h.messages += messages
	h.bytes += bytes
	h.reports++
	if p.onDropped != nil {
		p.onDropped(c)
	}
}

func (p *probe) Closed(c *Conn, err error) {
	h, end := p.during(c, "Closed", false)
	defer end()
	h.closed, h.err = true, err
	if c.FD() != -1 {
		p.t.Errorf("Closed with descriptor %d still there", c.FD())
	}
	if p.onClosed != nil {
		p.onClosed(c, err)
	}
}

// allClosed checks that each Open had its Closed.
func (p *probe) allClosed() {
	for c, h := range p.conns {
		if h.opened && !h.closed {
			p.t.Errorf("connection in slot %d was opened and never closed", c.slot)
		}
	}
}
