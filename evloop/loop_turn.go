// SPDX-License-Identifier: Apache-2.0

package evloop

// The work of a turn has a bound, because every other client waits for the turn
// to end. It is counted and not measured: a clock would make every run of the
// simulation different, and would count the processor time of other programs
// too.
//
// The unit is a delivery, a message put into a queue. One that is refused, or
// dropped from the queue later, costs the same. Whatever needs system calls
// counts as many of them. The work of a turn is an allowance that all services
// share. The loop charges it, and a handler that can go on later asks Spent. Of
// each list the loop serves at most:
//
//	                            while work is left   once it is spent
//	events of the kernel        256                  the same: their edge is spent
//	room for a queue, hang-ups  served at once       16, from the ready list
//	reads of one connection     readBudget bytes,    the same
//	                            twice that for a
//	                            Relayer in a flood;
//	                            a call counts for
//	                            1 KiB at least
//	clients of one listener     64                   4
//	timers, deadlines           256 of each          16 of each
//	posted functions, ready     all that are due     16 of each
//	list
//	connections buried          256 in the turn, whatever is left
//
// While the kernel has more events than one wait reports, a turn has only an
// eighth of the work: a client whose event is behind the others waits for
// several turns.
//
// The next turn goes on with what is left over. It does not sleep, and asks the
// kernel for new events first. A few of each list are always served, and in
// order, so a flood stops nobody: every entry becomes the first of its list at
// some time.
//
// A callback is not interrupted. One that writes to many and does not look at
// Spent makes a longer turn, so the bound is that of the longest callback.

const (
	// turnWork takes about a millisecond of a PC and four of a small board.
	turnWork = 4 << 10
	// callWork is what a system call that moves data costs in deliveries.
	callWork = 32
	// workBytes of output cost as much as a delivery.
	workBytes = 512
	// acceptWork covers accept4(2), the options that services set, and the
	// registration.
	acceptWork = 4 * callWork
	// buryWork covers the calls that find out that a peer has gone, and close(2).
	buryWork = 3 * callWork
	// crowdedShare divides the work while events are waiting behind others.
	crowdedShare = 8
	// fewest is how many of each list are served when all work is spent.
	fewest       = 16
	fewestAccept = 4
	// expireMost bounds the timers that a turn serves, and the deadlines.
	expireMost = 256
	// mostEvents is how many events one wait reports.
	mostEvents = 256
	// mostBuried bounds the connections that are closed in a turn: a thousand
	// can be ended by one callback.
	mostBuried = 256
	// readCost is the least that a read takes of a connection's budget, in
	// bytes. Without it, a peer that sends packets of one byte would have 64 Ki
	// of them read in a turn.
	readCost = 1 << 10
)

// A turnBudget is what is left of a turn.
type turnBudget struct {
	limit  int // the work of a turn
	bury   int // mostBuried, unless a test wants fewer
	events int // mostEvents, unless a test wants fewer
	left   int // of the work
	buried int

	crowded bool // the last wait may not have reported all events
}

// begin gives a turn its work.
func (b *turnBudget) begin() {
	b.left, b.buried = b.limit, 0
	if b.crowded {
		b.left = max(1, b.limit/crowdedShare)
	}
	b.crowded = false
}

// Spent reports whether the work of this turn has used up what a turn may cost
// (see Config.Work). A callback that has more to do, such as passing a line to
// a thousand members, then stops after a small piece of it and goes on in
// the next turn: by Yield, or by a timer that is due at Now.
func (l *Loop) Spent() bool { return l.work.left <= 0 }

// Charge counts system calls that a callback makes by itself, such as connect(2), as work
// of this turn.
func (l *Loop) Charge(calls int) { l.work.left -= calls * callWork }

// goesOn reports whether this turn serves one more entry of a list of which it
// has served n.
func (l *Loop) goesOn(n int) bool { return n < fewest || !l.Spent() }

// leftOver reports whether there is work that does not wait for the kernel, so
// that the loop must not sleep.
func (l *Loop) leftOver() bool {
	return len(l.ready)+len(l.dead)+len(l.posted) > 0 || l.wake.pending.Load()
}
