// SPDX-License-Identifier: Apache-2.0

package boards

// A phase is where the lines of another board stand.
//
//	       opened           due
//	even ─────────► behind ─────────► asked ──┐ due: asked again, unless spent
//	 ▲                │ ▲ ▲  answered  │ ▲────┘
//	 │                │ │ └────────────┤
//	 │            gone│ │there         │gone
//	 │                ▼ │              │
//	 │              parked ◄───────────┘
//	 │
//	 ├── closed, from any: nothing is missing any more
//	 └── asked and spent, parked and due: what is missing is lost
//
// behind waits for lines that others have overtaken, and for the turn to ask. parked
// waits for the board. It is due only if later lines wait behind the gap.
type phase uint8

const (
	even phase = iota
	behind
	asked
	parked
)

func (p phase) String() string { return [...]string{"even", "behind", "asked", "parked"}[p] }

// A trigger is what happens to a phase.
type trigger uint8

const (
	opened   trigger = iota // something is missing
	closed                  // nothing is
	due                     // the time is over
	spent                   // it is, and the last ask was not answered either
	answered                // a part of what is missing has come
	gone                    // the board is not there any more
	there                   // it is
)

func (t trigger) String() string {
	return [...]string{"opened", "closed", "due", "spent", "answered", "gone", "there"}[t]
}

// An act is what a step asks for.
type act uint8

const (
	nothing act = iota
	rest        // the deadline ends
	wait        // until lines have come that were overtaken
	follow      // ask for what is left, soon
	request     // ask, and wait for the answer
	park        // until the board is there, or the lines have waited for too long
	giveUp      // what is missing is lost
)

func (a act) String() string {
	return [...]string{"nothing", "rest", "wait", "follow", "request", "park", "give up"}[a]
}

// step returns the phase that follows, and what to do.
func (p phase) step(t trigger) (phase, act) {
	switch {
	case p == even && t == opened:
		return behind, wait
	case p == even:
		return even, nothing
	case t == closed:
		return even, rest
	case p != parked && t == gone:
		return parked, park
	case p == behind && (t == due || t == spent):
		return asked, request
	case p == asked && t == due:
		return asked, request
	case p == asked && t == spent:
		return even, giveUp
	case p == asked && t == answered:
		return behind, follow
	case p == parked && t == there:
		return behind, wait
	case p == parked && (t == due || t == spent):
		return even, giveUp
	}
	return p, nothing
}
