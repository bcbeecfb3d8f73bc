// SPDX-License-Identifier: Apache-2.0

package boards

import "time"

// play plays a history, heals what is broken, and checks.
func (w *simWorld) play() error {
	for range w.steps {
		w.step()
		if w.err != nil {
			return w.err
		}
	}
	w.heal()
	if w.err == nil {
		w.check()
	}
	return w.err
}

// A simEvent happens weight times out of the sum of all weights.
type simEvent struct {
	weight int
	harsh  bool // only if processes may end
	what   func(w *simWorld)
}

var simEvents = []simEvent{
	{30, false, func(w *simWorld) { w.some().say() }},
	{6, false, func(w *simWorld) { w.some().changeNames() }},
	{4, false, func(w *simWorld) { w.some().cutOff() }},
	{2, false, func(w *simWorld) { w.broker.kill(w.one(2)) }},
	{3, true, func(w *simWorld) { w.some().crash() }},
	{3, true, func(w *simWorld) { w.some().stop() }},
	{3, true, func(w *simWorld) { w.some().crashDaemon() }},
	{3, false, func(w *simWorld) { w.some().loseDaemon() }},
	{4, false, func(w *simWorld) { w.some().save() }},
	{8, false, func(w *simWorld) { w.some().comeBack() }},
	{6, false, func(w *simWorld) {
		if len(w.boards) < 20 || w.one(20) {
			w.comeBackAll()
		}
	}},
	{6, false, func(w *simWorld) { w.settle(50) }},
}

func (w *simWorld) some() *simBoard { return w.boards[w.rng.IntN(len(w.boards))] }

// step is one event, then some of what is under way, and some time.
func (w *simWorld) step() {
	sum := 0
	for _, e := range simEvents {
		sum += e.weight
	}
	n := w.rng.IntN(sum)
	for _, e := range simEvents {
		if n -= e.weight; n < 0 {
			if !e.harsh || !w.mild {
				e.what(w)
			}
			break
		}
	}
	for range w.rng.IntN(4 * len(w.boards)) {
		w.move()
	}
	d := time.Duration(w.rng.IntN(300)) * time.Millisecond
	if w.one(20) {
		if w.longs++; w.mild && w.longs%3 == 0 { // no break is longer than a Room's patience
			w.comeBackAll()
		}
		d = time.Duration(w.rng.IntN(20)) * time.Second
	}
	for ; w.mild && d > time.Second; d -= time.Second { // nor is the network slower
		w.settle(1000)
		w.pass(time.Second)
	}
	w.pass(d)
}

// move has one thing that is under way arrive, and reports whether there was any.
func (w *simWorld) move() bool {
	b := w.some()
	switch w.rng.IntN(4) {
	case 0:
		return b.upload()
	case 1:
		return b.download()
	case 2:
		return b.publish()
	}
	return b.stream()
}

// settle has all that is under way arrive, but for what is left after so many rounds.
func (w *simWorld) settle(rounds int) {
	for range rounds {
		moved := false
		for _, b := range w.boards {
			for b.upload() || b.download() || b.publish() || b.stream() {
				moved = true
			}
		}
		if !moved {
			return
		}
	}
}

// pass lets time pass, with every deadline in it.
func (w *simWorld) pass(d time.Duration) {
	until := w.now.Add(d)
	for {
		next, who := until, (*simBoard)(nil)
		for _, b := range w.boards {
			if b.room == nil {
				continue
			}
			if at, ok := b.room.Next(); ok && at.Before(next) {
				next, who = at, b
			}
		}
		if next.After(w.now) {
			w.now = next
		}
		w.broker.wills()
		if who == nil {
			return
		}
		who.room.Tick(w.now)
		who.drain()
		if at, ok := who.room.Next(); ok && !at.After(w.now) {
			who.late++
			if who.late > 1000 {
				w.failf("%s: Tick does not do what is due", who.name)
				return
			}
			continue
		}
		who.late = 0
	}
}

// comeBackAll ends all faults. With many boards it would happen too often.
func (w *simWorld) comeBackAll() {
	w.broker.start()
	for _, b := range w.boards {
		b.comeBack()
	}
}

// heal ends all faults, and waits until nothing moves. Then nothing may, for an hour.
func (w *simWorld) heal() {
	w.note("heal")
	for range 3 {
		w.comeBackAll()
		w.settle(1000)
	}
	for range 400 {
		w.settle(1000)
		w.pass(500 * time.Millisecond)
	}
	sent := w.sums.Messages
	w.settle(1000)
	w.pass(time.Hour)
	w.settle(1000)
	if w.sums.Messages != sent {
		w.failf("%d messages while nothing happens", w.sums.Messages-sent)
	}
}
