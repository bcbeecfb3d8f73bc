// SPDX-License-Identifier: Apache-2.0

package boards

import (
	"encoding/json"
	"errors"
)

// ErrDamaged means that a state is not one that Save has returned for this room and board.
var ErrDamaged = errors.New("boards: damaged or foreign state")

// saved is a Room without what the next connections tell anew. It is written now and then
// and at the end. A state that is older than the process was is as good, as long as the
// daemon still has what was said since: Joined and Line tell the rest. What the broker was
// not given is not in it: others learn from the number of the last line that they lack it.
type saved struct {
	Room    string   `json:"room"`
	Board   string   `json:"board"`
	Series  string   `json:"series"`
	Seen    uint64   `json:"seen"`
	Last    uint64   `json:"last"`
	Said    int      `json:"said"`
	Before  []end    `json:"before,omitempty"`
	Past    []string `json:"past,omitempty"`
	Met     bool     `json:"met"`
	Catches bool     `json:"catches,omitempty"`
	Doubts  bool     `json:"doubts,omitempty"`
	Kept    []line   `json:"kept,omitempty"`
	Recent  []line   `json:"recent,omitempty"`
	Queue   []line   `json:"queue,omitempty"`
	Marks   marks    `json:"marks,omitempty"`
	Peers   []where  `json:"peers,omitempty"`
}

// A where is where the lines of another board are.
type where struct {
	Board  string   `json:"board"`
	Series string   `json:"series"`
	Seen   uint64   `json:"seen"`
	Last   uint64   `json:"last"`
	Base   bool     `json:"base,omitempty"`
	Doubt  bool     `json:"doubt,omitempty"`
	Past   []string `json:"past,omitempty"`
	Route  []end    `json:"route,omitempty"`
}

// Save returns the state, of a few MiB at most.
func (r *Room) Save() []byte {
	o := &r.own
	s := saved{
		Room: r.o.Room, Board: r.o.Board, Series: o.series, Seen: o.seen, Last: o.last, Said: o.said,
		Before: o.before, Past: o.past, Met: r.met, Catches: r.catch.holds(), Marks: r.marks,
		Doubts: r.doubtful(),
	}
	for _, l := range o.kept {
		s.Kept = append(s.Kept, l.wire())
	}
	for _, l := range r.recent.list {
		s.Recent = append(s.Recent, l.wire())
	}
	for _, d := range r.delivery.list {
		l := line{Board: d.Board, Series: d.series, Number: d.number, Name: d.Name, Text: d.Text}
		s.Queue = append(s.Queue, l.wire())
	}
	for _, p := range r.peers {
		if p.met {
			s.Peers = append(s.Peers, where{p.board, p.series, p.seen, p.last, p.base, p.doubt, p.past, p.route})
		}
	}
	return encode(s)
}

// Load returns a Room that goes on from a state.
func Load(o Options, state []byte) (*Room, error) {
	var s saved
	if json.Unmarshal(state, &s) != nil || s.Room != o.Room || s.Board != o.Board || !s.valid() {
		return nil, ErrDamaged
	}
	r := New(o)
	r.met, r.doubts = s.Met, s.Doubts
	r.own = own{
		series: s.Series, past: s.Past, seen: s.Seen, last: s.Last, said: s.Said, before: s.Before, loaded: true,
	}
	for _, l := range s.Kept {
		r.own.keep(l, max(leastKept, o.History))
	}
	for _, l := range s.Recent {
		r.recent.add(l.Board, l)
	}
	r.marks = s.Marks
	for _, w := range s.Peers {
		if p := r.peer(w.Board); p != nil {
			p.series, p.seen, p.last, p.past, p.met = w.Series, w.Seen, w.Last, w.Past, true
			p.base, p.doubt, p.route = w.Base, w.Doubt, w.Route
		}
	}
	r.delivery.load(s.Queue)
	if s.Catches {
		r.catchUp()
	}
	return r, nil
}

// valid makes the texts of lines whole, and bounds what Save has bounded.
func (s *saved) valid() bool {
	ok := s.Series == "" || level(s.Series, longestSeries)
	for _, list := range [][]line{s.Kept, s.Recent, s.Queue} {
		for i := range list {
			ok = list[i].valid() && ok
		}
	}
	for _, list := range [][]line{s.Recent, s.Queue} {
		for i := range list {
			ok = level(list[i].Board, longestBoard) && ok
		}
	}
	for _, w := range s.Peers {
		ok = level(w.Board, longestBoard) && level(w.Series, longestSeries) && len(w.Past) <= mostSeries && len(w.Route) <= 2*mostSeries && ok
	}
	return ok && s.Last <= s.Seen && validEnds(s.Before) &&
		len(s.Past) <= mostSeries && len(s.Marks) <= mostMarks && len(s.Queue) <= queueLines
}

// load takes what had not landed. Some of it may have, since: the daemon will tell.
func (q *delivery) load(list []line) {
	for _, l := range list {
		d := delivered{Deliver{l.Board, l.Name, l.Text, tag(l.Board, l.Series, l.Number)}, l.Series, l.Number}
		q.list = append(q.list, d)
		q.bytes += d.size()
	}
	q.given = len(q.list)
}
