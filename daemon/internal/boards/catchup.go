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
//	 └─ cutOff: no deadline while the broker or the daemon is away; connected: it begins
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
	cutOff                        // the broker or the daemon is away
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
		if r.up && r.delivery.joined {
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
		r.advanceAll()
	}
}

// advanceAll delivers what was held, once nothing holds it any more.
func (r *Room) advanceAll() {
	for _, p := range r.peers {
		r.advance(p)
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
	case looking: // and not before the room has shown what it has
		r.fireCatch(found, r.delivery.joined && r.untried() != nil)
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
	history := slices.Clone(a.Lines)
	defer func() { r.recent.replace(history) }() // behind what deliver has added
	shown, ends := slices.Clone(r.marks), seriesAtEnd(a.Lines)
	for i := range a.Lines {
		l := &a.Lines[i]
		board := l.Board
		l.Board = ""
		if r.overtaken(board, l, shown, ends[board]) {
			continue
		}
		if p := r.find(board); p != nil && p.age(l.Series) < 0 && p.after(l.Before) {
			r.reaches(p, l.Series, l.Before)
		}
		r.place(board, l)
		r.deliver(board, l)
		r.marks.set(board, l.Series, l.Number, l.Prev)
	}
	r.fireCatch(came, true)
}

// overtaken reports whether the room has shown a line of the history, or one of its board
// that is later. shown is what it had shown before there was a history.
func (r *Room) overtaken(board string, l *line, shown marks, final string) bool {
	if board == r.o.Board && l.Series == r.own.series || l.Number <= r.marks.of(board, l.Series).Number {
		return true
	}
	if before := shown.latest(board); before != "" && before != l.Series {
		return true
	}
	p := r.find(board)
	age := func(series string) int {
		switch {
		case board == r.o.Board:
			return slices.Index(r.own.past, series)
		case p == nil:
			return -1
		}
		return p.age(series)
	}
	if l.Series != final && !later(age(l.Series), age(final)) {
		return true
	}
	now := r.marks.latest(board)
	return now != "" && now != l.Series && !later(age(now), age(l.Series))
}

// seriesAtEnd returns the series of the last line of each board.
func seriesAtEnd(list []line) map[string]string {
	ends := map[string]string{}
	for i := range list {
		ends[list[i].Board] = list[i].Series
	}
	return ends
}

// later compares two ages. Of an unknown one, -1, nothing is known.
func later(a, b int) bool { return a >= 0 && b > a }

// after reports whether a series that others were before is later than all that are known.
func (p *peer) after(before []end) bool {
	latest := p.series
	if n := len(p.route); n > 0 {
		latest = p.route[n-1].Series
	}
	return slices.ContainsFunc(before, func(e end) bool { return e.Series == latest })
}

// age orders the series of a board that are known: the later one is more.
func (p *peer) age(series string) int {
	switch i := slices.Index(p.past, series); {
	case i >= 0:
		return i
	case series == p.series:
		return mostSeries
	case p.follows(series) >= 0:
		return mostSeries + 1 + p.follows(series)
	}
	return -1
}

// place notes that a line of the history is shown. What is older and was not shown is not
// asked for any more: it would come behind. What is not in the history yet, though the
// board has said it, is missing.
func (r *Room) place(board string, l *line) {
	p := r.find(board)
	if p == nil || p.series != l.Series {
		if m := r.marks.of(board, l.Series); m.Number > 0 {
			r.lose(Lost{Board: board, Series: l.Series, From: m.Number + 1, To: l.Prev})
		}
		return
	}
	if !p.met || p.base && l.Number <= p.seen {
		p.met, p.base, p.seen = true, false, l.Number
		return
	}
	r.skip(p, l.Prev, p.doubt)
	p.base, p.seen = false, max(p.seen, l.Number)
}
