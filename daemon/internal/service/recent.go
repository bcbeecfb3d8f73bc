// SPDX-License-Identifier: Apache-2.0

package service

import "penstock/evloop"

// recent holds the last lines for newcomers.
type recent struct {
	lines []*evloop.Message // the oldest first
	bytes int
	most  int
	bound int // bytes; a newcomer has to be able to take all of it
}

// adjust sets the bounds.
func (r *recent) adjust(most, bound int) {
	r.most, r.bound = most, bound
	r.forget()
}

// keep adds a line.
func (r *recent) keep(m *evloop.Message) {
	if r.most > 0 {
		r.lines = append(r.lines, m)
		r.bytes += m.Len()
		r.forget()
	}
}

// show sends the lines to a newcomer.
func (r *recent) show(c *evloop.Conn) {
	for _, m := range r.lines {
		c.Send(m)
	}
}

func (r *recent) clear() { r.lines, r.bytes = nil, 0 }

// forget drops what is over the bounds.
func (r *recent) forget() {
	old := 0
	for len(r.lines)-old > r.most || r.bytes > r.bound && len(r.lines) > old {
		r.bytes -= r.lines[old].Len()
		r.lines[old] = nil
		old++
	}
	r.lines = r.lines[old:]
}
