// SPDX-License-Identifier: Apache-2.0

package service

import (
	"penstock/daemon/internal/record"
	"penstock/evloop"
)

// chargen sends characters until the client has enough (RFC 864): lines of 72
// of the 95 printing characters, each line beginning one character further on.
//
//	 !"#$%&'()*+,-./0123456789:;<=>?@ABC…defg CRLF
//	!"#$%&'()*+,-./0123456789:;<=>?@ABCD…efgh CRLF
//
// The pattern repeats after 95 lines, and every byte that was sent came from
// it. So the place to go on is a matter of counting, and a connection
// remembers nothing.
type chargen struct {
	plain
	pattern []byte // twice, so that a full period can begin anywhere; nil: no client has come
}

const (
	chargenWidth  = 72
	chargenFirst  = ' '
	chargenCount  = 95
	chargenPeriod = chargenCount * (chargenWidth + 2)
)

// chargenPattern makes the pattern for the first client. The start should be short, since
// clients of all services wait for it.
func chargenPattern() []byte {
	p := make([]byte, 0, 2*chargenPeriod)
	for line := range 2 * chargenCount {
		for i := range chargenWidth {
			p = append(p, byte(chargenFirst+(line+i)%chargenCount))
		}
		p = append(p, '\r', '\n')
	}
	return p
}

// Open begins.
func (s *chargen) Open(c *evloop.Conn) { s.fill(c) }

// Drained goes on. A client that does not read costs one full queue.
func (s *chargen) Drained(c *evloop.Conn) { s.fill(c) }

// Data throws away what the client says (RFC 864).
func (s *chargen) Data(_ *evloop.Conn, p []byte) int { return len(p) }

// chargenTurn bounds what one client gets before the others have their turn: a
// reader that keeps up would otherwise never let go of the loop.
const chargenTurn = 64 << 10

// fill queues what fits and not more, so that overflow is never asked what to
// do. A full queue goes on in Drained, any other in the next turn.
func (s *chargen) fill(c *evloop.Conn) {
	if s.pattern == nil {
		s.pattern = chargenPattern()
	}
	for left := min(c.Options().Queue-c.Queued(), chargenTurn); left > 0; {
		at := int(SessionOf(c).given(c) % chargenPeriod)
		n := min(left, chargenPeriod)
		if !c.WriteStatic(s.pattern[at : at+n]) {
			return
		}
		left -= n
	}
	if !c.Full() {
		c.Loop().Schedule(evloop.Timer{Deadline: c.Loop().Now(), Conn: c.ID(), Handler: s})
	}
}

// Expired goes on in the next turn.
func (s *chargen) Expired(l *evloop.Loop, t evloop.Timer) { s.fill(l.Conn(t.Conn)) }

// Save has nothing to say: where a connection is follows from the bytes it was sent.
func (*chargen) Save() []byte { return nil }

// SaveConn has nothing to say either.
func (*chargen) SaveConn(*evloop.Conn) []byte { return nil }

// Load takes nothing.
func (*chargen) Load(state []byte) error { return record.NewReader(state).Err() }

// LoadConn goes on in the next turn, unless the queue is full: Drained comes then.
func (s *chargen) LoadConn(c *evloop.Conn, state []byte) error {
	if !c.Full() && !c.Closing() {
		c.Loop().Schedule(evloop.Timer{Deadline: c.Loop().Now(), Conn: c.ID(), Handler: s})
	}
	return record.NewReader(state).Err()
}
