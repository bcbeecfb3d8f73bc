// SPDX-License-Identifier: Apache-2.0

package evloop

import "net/netip"

// An acceptor that has a limit of its own must not count those who are gone and
// of whom the loop has not heard yet: after a busy moment, or at start, a
// backlog holds clients that came, asked and left, in front of one that waits.
// So a client that finds no place is kept, and the acceptor asked again when the
// kernel's events have been served:
//
//	Accept ─ PutOff ─► kept ── next turn: events, closes, then ──► Accept
//	                    ▲                                            │ PutOff
//	                    └────────────────────────────────────────────┘
//
// The listener accepts nobody meanwhile; the others wait behind, as they came.
// Asking the kernel about every connection that holds a place (poll(2)) was the
// alternative. It takes a walk over all of them for each client that is refused,
// which a flood of clients would make the whole work of the loop.
type putOff struct {
	fd    int // of the client that is kept, if waits
	peer  netip.AddrPort
	turns int    // how often this client was put off
	sure  uint64 // turn in which one was asked about when all was seen
	waits bool
	asked bool // PutOff was called in Accept
}

// PutOff, called in Accept, has the loop keep the client and ask about it again
// in the next turn, when what had come from and about others is served; what
// Accept returns is not looked at. It is for a client that finds all places
// taken: some may be of clients that are gone. PutOff returns false, and Accept
// has to decide, when another turn would tell nothing new, which is so after a
// few.
func (ln *Listener) PutOff() bool {
	l, p := ln.loop, &ln.putOff
	enough := l.turnsToSee()
	switch {
	case ln.closed, p.turns >= 2*enough:
		return false
	case !l.opened && (p.turns >= enough || p.turns == 0 && p.sure == l.stats.Turns):
		return false
	}
	p.asked = true
	return true
}

// turnsToSee is after how many turns all that lay in the kernel has been seen
// and served: as many as it takes when each reports as many events as one call
// may, and for the last of them, with io_uring, one in which the bytes come, one
// for the FIN and one for the reply. Whom other listeners let in meanwhile may
// have gone, too; PutOff allows as much again for them.
func (l *Loop) turnsToSee() int { return 3 + l.conns.used/l.ep.most }

// keep holds a client for the next turn.
func (ln *Listener) keep(fd int, peer netip.AddrPort) {
	p := &ln.putOff
	p.asked, p.waits, p.fd, p.peer = false, true, fd, peer
	p.turns++
	if ln.closed { // by Accept, after PutOff
		ln.letGo()
	}
	ln.backlog = true // the batch was not finished
	ln.makeReady()
}

// askAgain asks about the client that was put off, from the ready list: the
// turn's events have been served. At the loop's limit, or paused, it waits on.
func (ln *Listener) askAgain() {
	l, p := ln.loop, &ln.putOff
	if ln.paused || ln.dead {
		return
	}
	if l.conns.used >= l.limit {
		l.waiting = true
		return
	}
	if p.turns >= l.turnsToSee() {
		p.sure = l.stats.Turns
	}
	ln.ask()
}

// ask has Accept decide about the client that was put off.
func (ln *Listener) ask() {
	l, p := ln.loop, &ln.putOff
	fd, peer := p.fd, p.peer
	p.waits = false
	l.enter()
	l.admit(ln, fd, peer)
	l.leave()
}

// letGo refuses it without asking, since Close may be called inside a callback.
func (ln *Listener) letGo() {
	if ln.putOff.waits {
		ln.putOff.waits = false
		ln.loop.ep.k.close(ln.putOff.fd, false)
	}
}
