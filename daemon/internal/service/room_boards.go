// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"errors"
	"slices"
	"sort"
	"strconv"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/text"
	"penstock/evloop"
)

// A room may be one with those of other boards. What passes their lines on is a program
// that publishes them, and says who is there (Present); the room itself knows no network.
// A name is that of one on its board:
//
//	here    amy, bob     attic   bob, zoe      shown as   amy, bob, bob@attic, zoe
//
// The board is shown where somebody else is called so, also in another case, and where the
// name is not one that a member has taken: an address means something on its own board
// only. The alternative was always to show it, but then a room of ten boards in which all
// have names would read like a list of hosts.
//
// Each Present is all who are there, and the members are told the difference, as they are
// told of their own. Its cost has bounds, whatever is said: so many boards, so many names of
// so many bytes, and few lines. When the program goes, nobody can say who is there, and the
// members get one line.

// A Gathering is a service whose clients are together with those of other boards.
type Gathering interface {
	// Names returns who is here, some if there are many.
	Names() []string
	// Present takes who is on another board; by says so, until it is Alone. An error means
	// that nothing was taken.
	Present(by any, board string, names []string) error
	// Alone forgets all that by has said.
	Alone(by any)
}

const (
	mostBoards = 64
	mostNames  = 1000
	// longestPerson is the most bytes of a name of another board, as long as any of ours.
	longestPerson = 64
	// fewNews is how many comings and goings of one Present are told one by one.
	fewNews = 8
)

var errBoards = errors.New("more than 64 boards")

// A board is another one, and who is in the room there.
type board struct {
	name   string
	people []person // in order, each once
	by     any
}

// A person is a name on another board.
type person struct{ folded, name string }

func (p person) before(q person) bool {
	return p.folded < q.folded || p.folded == q.folded && p.name < q.name
}

// Names is for Gathering.
func (r *room) Names() []string {
	names := make([]string, min(len(r.fan.members), mostNames))
	for i := range names {
		names[i] = memberOf(r.fan.members[i]).name
	}
	return names
}

// Present is for Gathering.
func (r *room) Present(by any, name string, names []string) error {
	b := r.board(name)
	people := peopleOf(names)
	if b == nil {
		if len(people) == 0 {
			return nil
		}
		if len(r.boards) >= mostBoards {
			return errBoards
		}
		b = &board{name: name}
		r.boards = append(r.boards, b)
		sort.Slice(r.boards, func(i, j int) bool { return r.boards[i].name < r.boards[j].name })
	}
	old := b.people
	b.people, b.by = people, by
	if len(people) == 0 {
		r.drop(func(o *board) bool { return o == b })
	}
	r.tellOf(b, old)
	return nil
}

// board returns the board of a name, or nil.
func (r *room) board(name string) *board {
	for _, b := range r.boards {
		if b.name == name {
			return b
		}
	}
	return nil
}

func (r *room) drop(which func(*board) bool) { r.boards = slices.DeleteFunc(r.boards, which) }

// peopleOf takes names as they may be shown, in order and each once.
func peopleOf(names []string) []person {
	var people []person
	for _, name := range names[:min(len(names), mostNames)] {
		if name = string(text.AppendClean(nil, []byte(name[:min(len(name), longestPerson)]))); name != "" {
			people = append(people, person{foldName(name), name})
		}
	}
	// Package slices would bring its own copies of the code.
	sort.Slice(people, func(i, j int) bool { return people[i].before(people[j]) })
	n := 0
	for i, p := range people {
		if i == 0 || p != people[n-1] {
			people[n] = p
			n++
		}
	}
	return people[:n]
}

// tellOf tells the members who has come to a board, and who has gone from it.
func (r *room) tellOf(b *board, old []person) {
	var came, left []person
	for now := b.people; len(old)+len(now) > 0; {
		switch {
		case len(now) == 0 || len(old) > 0 && old[0].before(now[0]):
			left, old = append(left, old[0]), old[1:]
		case len(old) == 0 || now[0].before(old[0]):
			came, now = append(came, now[0]), now[1:]
		default:
			old, now = old[1:], now[1:]
		}
	}
	if len(r.join) == 0 {
		came = nil
	}
	if len(r.leave) == 0 {
		left = nil
	}
	if len(came)+len(left) > fewNews {
		r.announceMany(len(came), len(left))
		return
	}
	for _, p := range left {
		r.announce(outsider(r.shown(p, b)), nil, r.leave.of(p.name+"@"+b.name), &r.news.left)
	}
	for _, p := range came {
		r.announce(outsider(r.shown(p, b)), nil, r.join.of(p.name+"@"+b.name), &r.news.came)
	}
}

// outsider is a session for somebody who has none here, but for the peer.
func outsider(name string) *Session { return &Session{Data: &member{name: name}} }

// of returns the template with what stands for {peer}.
func (t template) of(peer string) template {
	t = append(template(nil), t...)
	for i := range t {
		if t[i].slot == slotPeer {
			t[i] = piece{text: peer}
		}
	}
	return t
}

// shown returns the name of somebody on a board as members see it.
func (r *room) shown(p person, b *board) string {
	if !validName(p.name) || r.nicks[p.folded] != nil {
		return p.name + "@" + b.name
	}
	for _, o := range r.boards {
		i := sort.Search(len(o.people), func(i int) bool { return o.people[i].folded >= p.folded })
		if o.name != b.name && i < len(o.people) && o.people[i].folded == p.folded {
			return p.name + "@" + b.name
		}
	}
	return p.name
}

// people returns how many are on other boards.
func (r *room) people() (n int) {
	for _, b := range r.boards {
		n += len(b.people)
	}
	return n
}

// Alone is for Gathering.
func (r *room) Alone(by any) {
	n := len(r.boards)
	r.drop(func(b *board) bool { return b.by == by })
	if n > 0 && len(r.boards) == 0 && !r.ending {
		r.fan.send(evloop.NewMessage([]byte("* alone: the other boards are out of reach\n")), nil)
	}
}

// whoElse appends a line for each other board to the answer to /who, with at most so many
// names in all.
func (r *room) whoElse(b []byte, most int) []byte {
	for _, o := range r.boards {
		b = strconv.AppendInt(append(b, "* "...), int64(len(o.people)), 10)
		b = append(append(b, " on "...), o.name...)
		for i, p := range o.people[:min(len(o.people), most)] {
			b = append(append(b, sep(i)...), p.name...)
		}
		if len(o.people) > most {
			b = append(append(b, sep(most)...), "..."...)
		}
		most -= min(len(o.people), most)
		b = append(b, '\n')
	}
	return b
}

func sep(i int) string {
	if i == 0 {
		return ": "
	}
	return ", "
}

// ofBoard returns what a line of somebody on another board is called here, and how it is
// shown. What /me has made of a line there is kept as it is, but for the name.
func (r *room) ofBoard(name, of string, line []byte) (shown string, t template, rest []byte) {
	b := &board{name: of}
	shown = r.shown(person{foldName(name), name}, b)
	if did, ok := bytes.CutPrefix(line, []byte("~ "+name+" ")); ok && r.conf.Preset == config.PresetNone {
		return shown, template{{text: "~ " + shown + " "}, {slot: slotLine}}, did
	}
	return shown, r.message.of(name + "@" + of), line
}
