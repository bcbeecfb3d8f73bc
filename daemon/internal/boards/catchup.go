// SPDX-License-Identifier: Apache-2.0

package boards

import (
	"slices"
	"time"
)

// A catchPhase is where a room stands that has said less than its history holds when it
// begins. It asks one board that is there for the last lines of all. Lines that come
// meanwhile are held, since they are later.
//
//	              found                came
//	looking ───────────────► waiting ────────► settled
//	 │ ▲ ▲ │                   │                ▲  │
//	 │ │ │ └─ due: nobody ─────┼────────────────┘  │
//	 │ │ └────── due, left ────┘ another one       │
//	 │ └────────────── began ──────────────────────┘
//	 └─ cutOff: no deadline while the broker is away; connected: it begins
type catchPhase uint8

const (
	settled catchPhase = iota
	looking
	waiting
)

func (p catchPhase) String() string { return [...]string{"settled", "looking", "waiting"}[p] }

// A catchTrigger is what happens to it.
type catchTrigger uint8

const (
	began     catchTrigger = iota // the room has
	found                         // a board is there that was not asked yet
	came                          // its answer has
	catchDue                      // the time is over
	left                          // the board that was asked is not there any more
	cutOff                        // the broker is away
	connected                     // it is there
)

func (t catchTrigger) String() string {
	return [...]string{"began", "found", "came", "due", "left", "cut off", "connected"}[t]
}

// A catchAct is what a step asks for.
type catchAct uint8

const (
	stay    catchAct = iota
	search           // for a board, for some time
	pause            // the search, without an end
	askOne           // and wait for the answer
	proceed          // go on with what is held
)

func (a catchAct) String() string { return [...]string{"stay", "search", "pause", "ask", "end"}[a] }

// step returns the phase that follows, and what to do.
func (p catchPhase) step(t catchTrigger) (catchPhase, catchAct) {
	switch {
	case t == began:
		return looking, search
	case p == settled:
		return settled, stay
	case t == cutOff:
		return looking, pause
	case p == looking && t == connected:
		return looking, search
	case p == looking && t == found:
		return waiting, askOne
	case p == looking && t == catchDue:
		return settled, proceed
	case p == waiting && t == came:
		return settled, proceed
	case p == waiting && (t == catchDue || t == left):
		return looking, search
	}
	return p, stay
}

type catch struct {
	phase catchPhase
	due   time.Time
	of    string   // the board that is asked
	tried []string // and those that were
}

// holds reports whether lines have to wait.
func (c *catch) holds() bool { return c.phase != settled }

func (r *Room) catchUp() {
	r.catch.tried = nil
	r.fireCatch(began, true)
}

// fireCatch is an event, if it has happened.
func (r *Room) fireCatch(t catchTrigger, happened bool) {
	if !happened {
		return
	}
	c := &r.catch
	var do catchAct
	c.phase, do = c.phase.step(t)
	switch do {
	case search:
		c.due = time.Time{}
		if r.up {
			c.due = r.now.Add(findTime)
		}
	case pause:
		c.due = time.Time{}
	case askOne:
		p := r.untried()
		c.of, c.due = p.board, r.now.Add(answerTime)
		c.tried = append(c.tried, p.board)
		r.askOf(p, ask{From: r.o.Board, History: r.o.History})
	case proceed:
		c.due, c.of, c.tried = time.Time{}, "", nil
		for _, p := range slices.Clone(r.peers) {
			r.advance(p)
		}
	}
}

// untried returns a board that is there and was not asked for the history, or nil.
func (r *Room) untried() *peer {
	if len(r.catch.tried) >= mostTries {
		return nil
	}
	for _, p := range r.peers {
		if p.was && !slices.Contains(r.catch.tried, p.board) {
			return p
		}
	}
	return nil
}

// settleCatch looks who is there.
func (r *Room) settleCatch() {
	switch c := &r.catch; c.phase {
	case looking:
		r.fireCatch(found, r.untried() != nil)
	case waiting:
		p := r.find(c.of)
		r.fireCatch(left, p == nil || !p.was)
	}
}

// caught takes the history of all from a board that was asked for it.
func (r *Room) caught(from *peer, a *answer) {
	if r.catch.phase != waiting || r.catch.of != from.board {
		return
	}
	for i := range a.Lines {
		l := &a.Lines[i]
		board := l.Board
		l.Board = ""
		if board == r.o.Board && l.Series == r.own.series || l.Number <= r.marks.of(board, l.Series) {
			continue // the room has shown it
		}
		r.place(board, l)
		r.deliver(board, l)
		r.marks.set(board, l.Series, l.Number)
	}
	r.fireCatch(came, true)
}

// place notes that a line of the history is shown. What is older and was not shown is not
// asked for any more: it would come behind. What is not in the history yet, though the
// board has said it, is missing.
func (r *Room) place(board string, l *line) {
	p := r.find(board)
	if p == nil || p.series != l.Series {
		return
	}
	if p.base || !p.met {
		p.met, p.base, p.seen = true, false, l.Number
		return
	}
	r.skip(p, l.Prev, p.doubt)
	p.seen = max(p.seen, l.Number)
}
