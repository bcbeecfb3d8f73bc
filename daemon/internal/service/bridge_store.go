// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"slices"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/record"
	"penstock/daemon/internal/report"
	"penstock/evloop"
)

// A store holds messages for a source that is not there, with absent = "queue". They reach
// it in order when it has come, before what clients say then.
type store struct {
	list  []stored
	bytes int
	of    map[uint64]int // how many each session has in it
}

// A stored is a message, and the session of the client to which the reply to it goes. The
// client is looked for when the source takes the message: it may have left by then, or have
// another connection in another process.
type stored struct {
	text  []byte
	owner uint64
}

// perStored is what a message takes beside its bytes. Without it, tiny ones would take many
// times the bound.
const perStored = 64

// keep stores a message of c, and reports whether there is room for it.
func (b *bridge) keep(c *evloop.Conn, message []byte) bool {
	return b.keepOf(SessionOf(c).ID, message)
}

// keepOf stores a message of the client of that session.
func (b *bridge) keepOf(session uint64, message []byte) bool {
	s := &b.store
	if b.keys.Absent != config.AbsentQueue || s.bytes+len(message)+(len(s.list)+1)*perStored > b.conf.Queue {
		return false
	}
	s.add(stored{bytes.Clone(message), session})
	return true
}

func (s *store) add(m stored) {
	s.list = append(s.list, m)
	s.bytes += len(m.text)
	if s.of == nil {
		s.of = map[uint64]int{}
	}
	s.of[m.owner]++
}

// take takes the first message out.
func (s *store) take() (m stored) {
	m = s.list[0]
	s.list[0] = stored{}
	s.list = s.list[1:]
	s.bytes -= len(m.text)
	if s.of[m.owner]--; s.of[m.owner] == 0 {
		delete(s.of, m.owner)
	}
	return m
}

// owes reports whether a message of c waits for the source and is to have a reply: then c
// stays, although it has no more to say.
func (b *bridge) owes(c *evloop.Conn) bool {
	return b.takesTurns() && b.store.of[SessionOf(c).ID] > 0
}

// unowed ends the clients that have stayed for a reply, which other keys do not give.
func (b *bridge) unowed() {
	for _, c := range b.fan.members {
		if cl := callerOf(c); cl.eof && !cl.waits && b.store.of[SessionOf(c).ID] > 0 {
			b.lastWord(c, cl)
		}
	}
}

// give offers the source a message, behind what was stored.
func (b *bridge) give(message []byte) verdict {
	switch b.empty() {
	case full:
		return full
	case away:
		return away
	}
	if b.turn.state != free {
		return full // one that was stored has the turn now
	}
	return b.hand(message)
}

// hand offers the source a message.
func (b *bridge) hand(message []byte) verdict {
	v := b.source.Offer(message)
	if v == taken && b.tap != nil {
		b.tap(false, message)
	}
	return v
}

// Tap has f told what goes from and to the source, until it is called with nil. f must
// not keep p.
func (b *bridge) Tap(f func(fromSource bool, p []byte)) { b.tap = f }

// empty gives the source what was stored, as far as it takes it: taken if that is all of
// it, or all for this turn.
func (b *bridge) empty() verdict {
	for len(b.store.list) > 0 && b.turn.state == free {
		if b.suspended {
			return full
		}
		m := b.store.list[0]
		if v := b.hand(m.text); v != taken {
			return v
		}
		b.store.take()
		if b.takesTurns() {
			b.given(m.owner, b.client(m.owner), len(m.text))
		}
	}
	return taken
}

// loseStore drops what was stored, since the service ends.
func (b *bridge) loseStore() {
	if n := len(b.store.list); n > 0 {
		b.env.Lose(report.LostAbsent, n)
		b.log.SourceDropped(b.store.list[0].owner, b.store.bytes, report.LostAbsent)
	}
	b.store = store{}
}

// client returns the client of a session; nil: it has left, or is about to.
func (b *bridge) client(session uint64) *evloop.Conn {
	i := slices.IndexFunc(b.fan.members, func(c *evloop.Conn) bool { return SessionOf(c).ID == session })
	if i < 0 || b.fan.members[i].Closing() {
		return nil
	}
	return b.fan.members[i]
}

// save writes what is stored for the next process.
func (s *store) save(w *record.Writer) {
	w.Number(uint64(len(s.list)))
	for _, m := range s.list {
		w.Number(m.owner)
		w.Text(m.text)
	}
}

// readStore reads what save has written.
func readStore(in *record.Reader) (s store) {
	n := in.Count(2)
	for ; n > 0 && in.Left(); n-- {
		owner := in.Number()
		s.add(stored{bytes.Clone(in.Text()), owner})
	}
	if n > 0 {
		in.Text() // is missing, as Err tells
	}
	return s
}
