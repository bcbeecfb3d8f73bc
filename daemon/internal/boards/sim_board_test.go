// SPDX-License-Identifier: Apache-2.0

package boards

import (
	"fmt"
	"slices"
)

const simRoom = "lobby"

// A simBoard is a board: its daemon with a feed, and its companion.
type simBoard struct {
	w       *simWorld
	name    string
	history int // of the Room
	keeps   int // messages of the daemon's feed

	series  string
	begun   int // series so far
	feed    []simSaidHere
	life    []*simSaid // lines of others that the room has shown since the daemon began
	names   []string
	lives   [][]*simSaid
	session *simSession

	room    *Room // nil: the companion does not run
	joined  bool
	coming  []simSaidHere // from the daemon to the companion
	pubs    []Deliver     // from the companion to the daemon
	uplink  []Send
	up      bool
	late    int
	begins  bool // the next connection is the first of the process
	saved   []byte
	present map[string][]string
	reach   Reach

	met   map[string]bool // boards whose lines are owed
	owed  map[*simSaid]bool
	shown map[*simSaid]bool
	lost  []Lost
}

// A simSaidHere is a message of a feed.
type simSaidHere struct {
	number    uint64
	text, tag string
}

// A simSaid is a line that was said.
type simSaid struct {
	board  *simBoard
	begun  int // of the series
	series string
	number uint64
	text   string
	heard  bool // by the companion of its board
	waived bool // the board has lost it with all that knows of it
}

func (b *simBoard) options() Options {
	return Options{Room: simRoom, Board: b.name, History: b.history, Boards: 128}
}

// startDaemon begins a life of the room.
func (b *simBoard) startDaemon() {
	b.begun++
	b.series = fmt.Sprintf("%s-%d", b.name, b.begun)
	b.lives = append(b.lives, b.life)
	b.feed, b.life = nil, nil
}

func (b *simBoard) startCompanion(r *Room) {
	b.room, b.begins = r, true
	b.present, b.reach = map[string][]string{}, Reach{}
	b.room.Names(b.w.now, b.names)
	b.drain()
}

// join follows the daemon.
func (b *simBoard) join() {
	if b.room == nil || b.joined {
		return
	}
	series, after := b.room.After()
	if series != b.series {
		after = 0
	}
	kept := b.feed[max(0, len(b.feed)-b.keeps):]
	first := uint64(len(b.feed)-len(kept)) + 1
	b.w.note("%s joins behind %d, has %d from %d", b.name, after, len(b.feed), first)
	b.joined = true
	b.room.Joined(b.w.now, b.series, uint64(len(b.feed)), first-min(first, after+1))
	b.coming = nil
	for _, m := range kept {
		if m.number > after {
			b.coming = append(b.coming, m)
		}
	}
	b.drain()
}

// append is a line in the daemon's room.
func (b *simBoard) append(text, tag string) uint64 {
	m := simSaidHere{uint64(len(b.feed)) + 1, text, tag}
	b.feed = append(b.feed, m)
	if b.joined {
		b.coming = append(b.coming, m)
	}
	return m.number
}

// say is a line of a client here.
func (b *simBoard) say() {
	b.w.sums.Said++
	s := &simSaid{board: b, begun: b.begun, series: b.series, text: fmt.Sprintf("line %d", len(b.w.said))}
	s.number = b.append(s.text, "")
	b.w.note("%s says %d: %s", b.name, s.number, s.text)
	b.w.said = append(b.w.said, s)
	b.w.byText[s.text] = s
}

// stream has the companion get a message of the daemon.
func (b *simBoard) stream() bool {
	if b.room == nil || len(b.coming) == 0 {
		return false
	}
	m := b.coming[0]
	b.coming = b.coming[1:]
	if s := b.w.byText[m.text]; m.tag == "" && !s.heard {
		s.heard = true
		b.owes(s)
	}
	b.room.Line(b.w.now, m.number, "ann", m.text, m.tag)
	b.drain()
	return true
}

// owes has everybody who has met this board owed a line.
func (b *simBoard) owes(s *simSaid) {
	for _, o := range b.w.boards {
		if o.room != nil {
			p := o.room.find(b.name)
			o.met[b.name] = p != nil && p.met
		}
		if o != b && o.met[b.name] && !o.shown[s] {
			o.owed[s] = true
		}
	}
}

// publish has the daemon take a line.
func (b *simBoard) publish() bool {
	if len(b.pubs) == 0 || !b.joined {
		return false
	}
	d := b.pubs[0]
	b.pubs = b.pubs[1:]
	s := b.w.byText[d.Text]
	if s == nil || s.board.name != d.Board {
		b.w.failf("%s: %q of %s was never said", b.name, d.Text, d.Board)
		return false
	}
	b.append(d.Text, d.Tag)
	b.life = append(b.life, s)
	b.shown[s] = true
	b.w.sums.Shown++
	b.w.note("%s shows %s %d: %s", b.name, d.Board, s.number, d.Text)
	if b.w.one(2) { // or its echo says so
		b.room.Landed(b.w.now, d.Tag)
		b.drain()
	}
	return true
}

// upload has the broker take a message.
func (b *simBoard) upload() bool {
	if !b.up || len(b.uplink) == 0 {
		return false
	}
	s := b.uplink[0]
	b.uplink = b.uplink[1:]
	b.w.broker.take(b, s)
	return true
}

// download has the companion get a message of the broker.
func (b *simBoard) download() bool {
	if !b.up || len(b.session.queue) == 0 {
		return false
	}
	m := b.session.next(b.w)
	if m.topic == BoardTopic(b.name) && string(m.payload) == Offline {
		b.uplink = append(b.uplink, b.online())
	}
	b.w.note("%s hears %s %s", b.name, m.topic, m.payload)
	waits := b.room.catch.phase == waiting
	b.room.Heard(b.w.now, m.topic, m.payload, m.retained)
	if waits && !b.room.catch.holds() {
		b.w.sums.Caught++
	}
	b.drain()
	return true
}

func (b *simBoard) online() Send {
	return Send{Topic: BoardTopic(b.name), Payload: []byte(Online), Retain: true}
}

// drain does what the Room asks for.
func (b *simBoard) drain() {
	for _, o := range b.room.Take() {
		switch o := o.(type) {
		case Send:
			if !b.up {
				b.w.failf("%s sends without a broker: %s", b.name, o.Topic)
			}
			b.uplink = append(b.uplink, o)
		case Deliver:
			b.pubs = append(b.pubs, o)
			if len(b.pubs) > window {
				b.w.failf("%s: %d lines for the daemon at a time", b.name, len(b.pubs))
			}
		case Present:
			b.present[o.Board] = o.Names
		case Lost:
			b.w.note("%s: %+v", b.name, o)
			b.lost = append(b.lost, o)
			b.w.sums.Lost++
			if o.Doubt {
				b.w.sums.Doubt++
			}
		case Reach:
			b.w.note("%s: %+v", b.name, o)
			if b.reach = o; !o.Up {
				clear(b.present)
			}
		default:
			b.w.failf("%s: %T %+v", b.name, o, o)
		}
	}
}

func (b *simBoard) changeNames() {
	b.names = nil
	for i := range b.w.rng.IntN(4) {
		b.names = append(b.names, fmt.Sprintf("%s-%d-%d", b.name, i, b.w.rng.IntN(3)))
	}
	if b.room != nil {
		b.room.Names(b.w.now, slices.Clone(b.names))
		b.drain()
	}
}
