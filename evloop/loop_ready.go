// SPDX-License-Identifier: Apache-2.0

package evloop

import "slices"

// The ready list holds what can go on without news from the kernel: connections
// that used up their read budget, that were resumed or whose handler is to be
// told something, and listeners that used up their batch. It holds tokens and
// not pointers: the token of a connection that has been closed finds nothing,
// so closing need not search the list.

// makeReady puts a token on the next turn's list.
func (l *Loop) makeReady(t token) { l.ready = append(l.ready, t) }

// serveReady serves what was ready when the turn began. What this turn has no
// work left for comes first in the next turn. What became ready since then
// comes behind it, after the kernel has been asked for new events.
func (l *Loop) serveReady() {
	for n, t := range l.serving {
		if !l.goesOn(n) {
			l.ready = slices.Insert(l.ready, 0, l.serving[n:]...)
			return
		}
		switch t.source() {
		case sourceConn:
			if c := l.conns.at(t.slot()); c != nil && c.gen == t.gen() {
				c.flags &^= flagReady
				l.serve(c)
			}
		case sourceListener:
			if ln := l.listeners.at(t.slot()); ln != nil && ln.gen == t.gen() {
				ln.ready = false
				if ln.putOff.waits {
					ln.askAgain()
				}
				ln.accept()
			}
		}
	}
}

// makeReady puts c on the ready list once.
func (c *Conn) makeReady() {
	if c.flags&flagReady == 0 && c.state < stateDead {
		c.flags |= flagReady
		c.loop.makeReady(newToken(sourceConn, c.slot, c.gen))
	}
}

// serve goes on with a connection of the ready list.
func (l *Loop) serve(c *Conn) {
	if c.flags&flagRoom != 0 {
		c.flags &^= flagRoom
		l.enter()
		l.flush(c)
		l.leave()
	}
	if c.flags&flagReport != 0 {
		l.enter()
		c.reportDrops()
		l.settle(true)
		l.leave()
	}
	if c.state == stateOpen && c.flags&flagDrained != 0 {
		c.flags &^= flagDrained
		l.enter()
		c.h.Drained(c)
		l.leave()
	}
	if c.mayRead() && c.flags&flagReplay != 0 {
		c.flags &^= flagReplay
		l.replay(c)
	}
	l.be.receive(c)
}
