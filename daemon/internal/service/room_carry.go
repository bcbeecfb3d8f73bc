// SPDX-License-Identifier: Apache-2.0

package service

import (
	"cmp"
	"time"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/record"
	"penstock/evloop"
)

// What a room and its members take along to the next process: Carrier, Misser.

// Save returns the history, and who is on other boards. Every member has got all lines by
// then.
func (r *room) Save() []byte {
	r.tell()
	r.fan.settle()
	var w record.Writer
	r.history.save(&w)
	r.feed.save(&w)
	r.history.saveAbout(&w)
	r.saveBoards(&w)
	return w
}

// Load takes the history, as far as the bounds allow.
func (r *room) Load(state []byte) error {
	in := record.NewReader(state)
	history := readRecent(in)
	numbers, damaged := readNumbers(in)
	abouts := make([]*About, len(history))
	var bad error
	if numbers.series != 0 {
		abouts, bad = readAbout(in, history)
	}
	boards, wrong := readBoards(in)
	if err := cmp.Or(in.Err(), damaged, bad, wrong); err != nil {
		return err
	}
	r.feed.goOn(numbers)
	for i, m := range history {
		r.history.keep(m, abouts[i])
	}
	r.expect(boards)
	return nil
}

// SaveConn returns the name of a client, and whether it is in the room.
func (*room) SaveConn(c *evloop.Conn) []byte {
	m := memberOf(c)
	var w record.Writer
	w.Text([]byte(m.name))
	w.Bool(m.in)
	w.Bool(m.nick)
	return w
}

// LoadConn makes c a member again, without a word to anybody. One that waited until the
// others had read may go on: the pace begins anew.
func (r *room) LoadConn(c *evloop.Conn, state []byte) error {
	m, err := loadMember(state)
	if err != nil {
		return err
	}
	if m.nick && (!validName(m.name) || !r.available(c, m.name)) {
		return record.ErrDamaged
	}
	SessionOf(c).Data = m
	if m.nick {
		r.nicks[foldName(m.name)] = c
	}
	if m.in {
		r.seat(c)
	}
	c.Resume()
	r.Adjusted(c)
	return nil
}

// loadMember reads what SaveConn has written.
func loadMember(state []byte) (*member, error) {
	in := record.NewReader(state)
	m := &member{name: string(in.Text()), in: in.Bool(), nick: in.Bool()}
	return m, in.Err()
}

// Missed tells the members that one of them has left.
func (r *room) Missed(s *Session, state []byte) {
	if m, err := loadMember(state); err == nil && m.in {
		s.Data = m
		r.announce(s, nil, r.leave, &r.news.left)
	}
}

// saveBoards writes who is on other boards, if somebody is.
func (r *room) saveBoards(w *record.Writer) {
	for _, b := range r.boards {
		w.Text([]byte(b.name))
		w.Number(uint64(len(b.people)))
		for _, p := range b.people {
			w.Text([]byte(p.name))
		}
	}
}

// readBoards reads what saveBoards has written, to the end of the record.
func readBoards(in *record.Reader) (list []*board, err error) {
	for last := ""; in.Left(); {
		b := &board{name: string(in.Text())}
		names := make([]string, 0, mostNames)
		for n := in.Count(1); n > 0 && in.Left(); n-- {
			names = append(names, string(in.Text()))
		}
		b.people = peopleOf(names)
		same := len(b.people) == len(names)
		for i, p := range b.people {
			same = same && p.name == names[i]
		}
		if !same || len(names) == 0 || b.name <= last || !config.IsLevel(b.name) || len(list) == mostBoards {
			return nil, record.ErrDamaged
		}
		last, list = b.name, append(list, b)
	}
	return list, nil
}

// awaited is how long a room believes what the former process knew of other boards. By then
// the program that has said so has come again.
const awaited = time.Minute

// expect takes the boards of the former process, of which nobody says anything yet. So
// members are not told again of all who have been there before.
func (r *room) expect(boards []*board) {
	if r.boards = boards; len(boards) > 0 {
		r.loop.Schedule(evloop.Timer{Deadline: r.loop.Now().Add(awaited), Kind: timerBoards, Handler: r})
	}
}
