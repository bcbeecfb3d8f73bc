// SPDX-License-Identifier: Apache-2.0

package boards

import "slices"

// What happens to a board.

// down is the end of a connection to the broker, as the board sees it.
func (b *simBoard) down() {
	if !b.up {
		return
	}
	b.w.note("%s down", b.name)
	for len(b.uplink) > 0 && b.w.broker.on && b.w.one(2) { // some are still under way
		b.upload()
	}
	b.up, b.uplink = false, nil
	b.room.Down(b.w.now)
	b.drain()
}

// cutOff ends the connection to the broker.
func (b *simBoard) cutOff() {
	b.down()
	b.w.broker.lost(b.session)
}

// crash ends the companion, which has saved something, at some time, or nothing.
func (b *simBoard) crash() {
	if b.room == nil {
		return
	}
	b.w.sums.Crashes++
	b.w.note("%s crashes", b.name)
	b.cutOff()
	b.room, b.joined, b.pubs, b.coming = nil, false, nil, nil
	if b.w.one(3) {
		b.saved = nil
	}
	b.forgets()
}

// forgets finds out what the companion does not know any more.
func (b *simBoard) forgets() {
	next := New(b.options())
	if b.saved != nil {
		r, err := Load(b.options(), b.saved)
		if err != nil {
			b.w.failf("%s: %v", b.name, err)
			return
		}
		next = r
	}
	for _, s := range b.w.said { // of a life of the daemon that is over
		if s.board == b && s.begun != b.begun && !next.own.has(s) {
			s.waived = true
		}
	}
	for name := range b.met {
		p := next.find(name)
		b.met[name] = p != nil && p.met
	}
	for s := range b.owed {
		if !b.met[s.board.name] {
			delete(b.owed, s)
		}
	}
}

// stop ends the companion as it is meant to be.
func (b *simBoard) stop() {
	if b.room == nil {
		return
	}
	b.w.sums.Restarts++
	b.w.note("%s stops", b.name)
	b.save()
	if b.up {
		b.w.broker.take(b, Send{Topic: BoardTopic(b.name), Payload: []byte(Offline), Retain: true})
		b.session.connected = false
		b.down()
	}
	b.room, b.joined, b.pubs, b.coming = nil, false, nil, nil
}

func (b *simBoard) save() {
	if b.room != nil {
		b.saved = b.room.Save()
	}
}

// crashDaemon ends the daemon: its room begins anew.
func (b *simBoard) crashDaemon() {
	b.w.note("%s: daemon crashes", b.name)
	b.leave()
	for _, s := range b.w.said {
		// Nobody knows of the lines that its companion has not got.
		if s.board == b && s.begun == b.begun && (b.room == nil || !b.room.own.has(s)) {
			s.waived = true
		}
	}
	b.startDaemon()
}

// loseDaemon ends the connection to the daemon, as an upgrade does.
func (b *simBoard) loseDaemon() {
	b.w.note("%s: daemon restarts", b.name)
	b.leave()
}

func (b *simBoard) leave() {
	if b.joined {
		b.joined, b.pubs, b.coming = false, nil, nil
		b.room.Left(b.w.now)
		b.drain()
	}
}

// comeBack ends what keeps a board from the others.
func (b *simBoard) comeBack() {
	if b.room == nil {
		r := New(b.options())
		if b.saved != nil {
			var err error
			if r, err = Load(b.options(), b.saved); err != nil {
				b.w.failf("%s: %v", b.name, err)
				return
			}
		}
		b.startCompanion(r)
	}
	b.join()
	if !b.up && b.w.broker.on {
		b.w.note("%s up", b.name)
		b.w.sums.Ups++
		b.w.broker.connect(b)
		b.up = true
		b.uplink = append(b.uplink, b.online())
		b.room.Up(b.w.now)
		b.drain()
	}
}

// has reports whether a line is kept for those who ask.
func (o *own) has(s *simSaid) bool {
	return slices.ContainsFunc(o.kept, func(l line) bool { return l.Series == s.series && l.Number == s.number })
}
