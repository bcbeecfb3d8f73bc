// SPDX-License-Identifier: Apache-2.0

package evloop

import "slices"

// What a turn may do has a bound (loop_turn.go), and what it leaves for the next one
// keeps the loop awake. Both are counted here by what is seen from outside: the
// calls of the kernel and the callbacks. In every other history the handlers
// are polite, that is they go on in another turn when the work of one is spent,
// as those of a service do; only then has a turn a bound in figures.

// A simTurn counts what one turn does.
type simTurn struct {
	work int // what it may cost

	happened   int // callbacks but Dropped, and one for what is served from the ready list
	told       int // calls of Dropped
	deliveries int // messages that were taken
	accepts    int // clients, put-off ones not again
	timers     int
	posts      int

	kernel int // simKernel.calls when it began
	faults int // simFaults.calls, the same
}

// oneTurn has the loop do one, and checks what is left.
func (w *simWorld) oneTurn(block bool) error {
	b := w.l.work
	b.begin()
	w.k.closed = w.k.closed[:0] // between two turns, as at a restart
	w.turn = simTurn{work: b.left, happened: 1 + w.restored, kernel: w.k.calls, faults: w.k.faults.calls}
	w.restored = 0
	if err := w.l.turn(block); err != nil {
		return err
	}
	w.check()
	return nil
}

// defers reports whether a polite handler leaves the rest for another turn.
func (w *simWorld) defers() bool { return w.polite && w.l.Spent() }

// begins checks that entry n of a list, counted from one, may be served.
func (w *simWorld) begins(n int, list string) {
	if n > fewest && w.l.Spent() {
		w.fail(n, list, "in a turn whose work is spent")
	}
}

func (w *simWorld) checkTurn() {
	l, t := w.l, &w.turn
	charged := t.work - l.work.left
	cost := t.deliveries + acceptWork*t.accepts + buryWork*l.work.buried
	switch {
	case l.work.buried > l.work.bury:
		w.fail(l.work.buried, "connections buried in one turn, bound", l.work.bury)
	case len(l.posted) > 0 && !l.Spent():
		w.fail(len(l.posted), "posted functions were left, although there was time")
	case t.timers > expireMost:
		w.fail(t.timers, "timers in one turn, bound", expireMost)
	case charged < cost:
		w.fail("a turn is charged", charged, "for", t.deliveries, "deliveries,", t.accepts, "clients and", l.work.buried, "ends")
	case w.polite && t.deliveries > t.work:
		w.fail(t.deliveries, "deliveries in one turn, bound", t.work)
	}
	w.checkCalls(charged - cost)
}

// checkCalls: reads and accepts are bounded one by one. All others follow from
// callbacks, from what is written, and from who has room or ends: a few each,
// but for packets, which go one by one. The kernel has room for a few of those,
// and they are charged.
func (w *simWorld) checkCalls(rest int) {
	l, k, t := w.l, w.k, &w.turn
	single, packets := 0, 0
	for _, f := range slices.Concat(k.files, k.closed) {
		if f == nil {
			continue
		}
		if most := (l.readBudget + readCost - 1) / readCost; f.sock != nil && f.calls > most {
			w.fail(f, "was read", f.calls, "times in one turn, bound", most)
		} else if f.sock == nil && f.calls > acceptBatch {
			w.fail(f, "accepted", f.calls, "times in one turn, bound", acceptBatch)
		}
		single += f.calls + f.packets
		packets += max(0, f.packets-1)
		f.calls, f.late, f.packets = 0, 0, 0
	}
	k.closed = k.closed[:0]
	if queued := packets - t.deliveries - t.happened; rest < callWork*queued {
		w.fail(queued, "packets of queues were sent, and", rest, "is charged for them")
	}
	conns := l.conns.used + l.work.buried
	most := single + 16 + 2*(t.happened+t.told+t.deliveries) + 4*conns
	if calls := k.calls - t.kernel; calls > most {
		w.fail(calls, "calls of the kernel in one turn, bound", most)
	}
}

// admitted checks that ln may be served, and counts its client, unless that
// client was put off before.
func (w *simWorld) admitted(ln *Listener) {
	t := &w.turn
	clients := int(w.l.stats.Accepted - w.clients)
	w.clients = w.l.stats.Accepted
	t.accepts += clients
	f := w.k.file("Accept", ln.fd)
	if clients > 0 && w.l.work.left+acceptWork <= 0 {
		f.late++
	}
	if f.late > 2*fewestAccept { // for an event, and from the ready list
		w.fail(f, "accepted", f.late, "clients in a turn whose work was spent")
	}
}
