// SPDX-License-Identifier: Apache-2.0

package evloop

import "net/netip"

// An acceptor that has a limit of its own must not count clients that are gone
// while the loop does not know it yet. After a busy moment, or at start, a
// backlog holds clients that came, asked and left, in front of one that waits.
// So the loop keeps a client that finds no place, and asks the acceptor again
// when the kernel's events have been served:
//
//	Accept ─ PutOff ─► kept ── next turn: events, closes, then ──► Accept
//	                    ▲                                            │ PutOff
//	                    └────────────────────────────────────────────┘
//
// The listener accepts nobody meanwhile; the others wait behind, as they came.
// Asking the kernel about every connection that holds a place (poll(2)) was the
// alternative. It takes a walk over all of them for each client that is
// refused, and in a flood of clients the loop would do nothing else.
type putOff struct {
	fd    int // of the client that is kept, if waits
	peer  netip.AddrPort
	turns int    // how often this client was put off
	sure  uint64 // turn in which a client was asked about after all events were seen
	waits bool
	asked bool // PutOff was called in Accept
}

// PutOff, called in Accept, has the loop keep the client and call Accept for it
// again in the next turn, after the events of other connections. What Accept
// returns is then ignored. It is for a client that finds all places taken:
// clients that are gone may hold some of them. After a few turns another turn
// would tell nothing new: PutOff then returns false, and Accept has to decide.
func (ln *Listener) PutOff() bool {
	ln.loop.checkCaller()
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

// turnsToSee returns after how many turns all that lay in the kernel has been
// served. Each turn sees as many events as one call reports. With io_uring the
// last connection then takes three turns: for the bytes, for the FIN and for the
// reply. Clients that other listeners let in meanwhile may have gone too; PutOff
// allows as many turns again for them.
func (l *Loop) turnsToSee() int { return 3 + l.conns.used/l.work.events }

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
// turn's events have been served. While the loop is at its limit, or the
// listener is paused, the client goes on waiting.
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

// TakePutOff gives the client that was put off to the caller, who owns fd then. ok is
// false if there is none. With Offer it goes on in another process.
func (ln *Listener) TakePutOff() (fd int, peer netip.AddrPort, ok bool) {
	ln.loop.checkCaller()
	p := &ln.putOff
	if !p.waits || ln.closed {
		return -1, netip.AddrPort{}, false
	}
	p.waits, p.turns = false, 0
	return p.fd, p.peer, true
}

// Offer has Accept asked about a connected client that somebody else has accepted, as
// if it had been put off: in a later turn, before those in the backlog. peer is for
// Accept. The listener owns fd if Offer returns true. It returns false if another client
// has been put off already, or the listener accepts nobody any more.
func (ln *Listener) Offer(fd int, peer netip.AddrPort) bool {
	ln.loop.checkCaller()
	if ln.putOff.waits || ln.closed || ln.dead {
		return false
	}
	ln.putOff.turns = 0
	ln.keep(fd, peer)
	return true
}

// letGo refuses the kept client without asking, since Close may be called inside
// a callback.
func (ln *Listener) letGo() {
	if ln.putOff.waits {
		ln.putOff.waits = false
		ln.loop.sys.closeFD(ln.putOff.fd, false)
	}
}
