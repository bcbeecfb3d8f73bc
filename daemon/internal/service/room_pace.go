// SPDX-License-Identifier: Apache-2.0

package service

import (
	"time"

	"penstock/evloop"
)

// A room is as fast as most of its members. A speaker that sends more than the others
// can read would fill their queues, and their overflow policy would cut them or drop
// their lines. So a speaker waits, which means that the loop does not read from it,
// while some lines were not yet given to every member (fanout.behind), and while other
// members are full. A member is full if more than half a queue waits for it:
//
//	most members are full                        wait
//	most were full within the last second        wait while any is full that was
//	                                             not a second ago
//	else                                         wait while any is full for which
//	                                             there is patience left
//
// The second row is needed because kernels take output in bursts: readers of the same
// speed are full in turns, and the one that is full now must not be cut. The third row
// is for a reader that halts for a moment: in a flood its queue is full within
// milliseconds. The room waits for such a member for 50 ms at a time. It has one second
// of patience with each member; waiting uses it up, and a tenth of all other time gives
// it back. So a member that is slower than most soon meets its own policy, as if no
// speaker waited. A member that has taken nothing for three seconds does not count;
// otherwise a few that never read would silence a room.
//
//	speaker ─► free? ─► line ─► fanout ─► queues
//	   ▲         │ no
//	   └─ wake ◄─┘ when a pass is over, and every few milliseconds
//
// The loop does not report that half a queue has drained. So while a speaker waits, and
// only then, a timer has the members counted. The alternative was a rate for each
// speaker. That needs no counting, but nobody knows the right rate.
//
// As long as all members get on, they are not counted at all: the fanout compares each
// queue with the half (fanout.half) and tells of the first that has more. From then on
// each pass counts the members, until nobody was full within the last second and no
// speaker waits.
type roomPace struct {
	census   census
	counting census // of the pass that is under way

	// Speakers that wait. Those in silent could say nothing when they were last
	// read, and go on before those in heard, which have said something.
	silent, heard []*evloop.Conn
	timer         evloop.TimerID
	due           evloop.Time   // of the timer
	late          time.Duration // that the count under way is behind it

	calm evloop.Time // when the last pass was over in which nobody was full or had been
}

// A census counts the members that read.
type census struct {
	all    int
	full   int // are full now
	near   int // are full now and were not a second ago
	recent int // are full now or were within the last second
	spared int // are full now, and there is patience with them left
	stuck  int // would be full, but have taken nothing for long: not in all
}

// crowded reports whether most of those but the one that asks, which is in
// recent if self is 1, were full within the last second.
func (n *census) crowded(self int) bool { return 2*(n.recent-self) > max(0, n.all-1) }

// An appetite is what a room knows of how a member reads.
type appetite struct {
	taken uint64      // bytes that it had taken when it was last seen to read
	moved evloop.Time // when that was; 0: never
	high  evloop.Time // when it was last seen full; 0: never
	low   evloop.Time // when it was last seen not to be full

	seen  evloop.Time   // when it was last counted
	spent time.Duration // of the patience with it
	over  bool          // all was spent, and too little given back since
}

const (
	paceLook   = 5 * time.Millisecond // between two counts
	paceRecent = time.Second
	paceStuck  = 3 * time.Second
	paceWake   = 8 // speakers woken at once; each may fill the fanout

	paceHalt     = 50 * time.Millisecond // the longest halt that is waited for: one that does not read delays nobody
	pacePatience = time.Second
	paceAgain    = 100 * time.Millisecond // given back, before a member is waited for again
	paceRegain   = 10                     // the part of other time that is given back: one in so many
	paceCharge   = 100 * time.Millisecond // the most that one count takes: before it, nobody may have waited
)

// free reports whether c may say something now.
func (r *room) free(c *evloop.Conn) bool {
	return !r.fan.behind() && (r.pace.census.full == 0 || r.getOn(c))
}

// getOn reports whether the others get on well enough for c to say something, though
// some are full.
func (r *room) getOn(c *evloop.Conn) bool {
	n, self, spared := &r.pace.census, 0, 0
	if c.Queued() > r.fan.half { // c does not wait for itself
		self = 1
		if memberOf(c).appetite.spared(r.loop.Now()) {
			spared = 1
		}
	}
	switch {
	case 2*(n.full-self) > max(0, n.all-1):
		return false
	case n.crowded(self):
		return n.near-self <= 0
	}
	return n.spared-spared <= 0
}

// spared reports whether there is patience with a member that is full: some is
// left, and it has not halted for long.
func (a *appetite) spared(now evloop.Time) bool { return !a.over && now.Sub(a.moved) < paceHalt }

// charge takes from the patience with a member the time since it was last
// counted, if the speakers wait for it, and gives back a part of it otherwise.
func (a *appetite) charge(now evloop.Time, waits bool) {
	passed := now.Sub(a.seen)
	a.seen = now
	if waits {
		a.spent = min(a.spent+min(passed, paceCharge), pacePatience)
		a.over = a.over || a.spent == pacePatience
		return
	}
	a.spent = max(0, a.spent-passed/paceRegain)
	a.over = a.over && a.spent > pacePatience-paceAgain
}

// waiting reports whether somebody waits.
func (p *roomPace) waiting() bool { return len(p.silent)+len(p.heard) > 0 }

// wait stops reading from c until the others have got on.
func (r *room) wait(c *evloop.Conn, heard bool) {
	c.Pause()
	p := &r.pace
	if heard {
		p.heard = append(p.heard, c)
	} else {
		p.silent = append(p.silent, c)
	}
	if !r.fan.tells { // it is to tell when the pass is over
		r.countAnew(r.fan.members[:r.fan.served])
	}
	if p.timer.IsZero() {
		r.look(0)
	}
}

// look has the members counted after some time.
func (r *room) look(after time.Duration) {
	r.pace.due = r.loop.Now().Add(after)
	r.pace.timer = r.loop.Schedule(evloop.Timer{Deadline: r.pace.due, Kind: timerPace, Handler: r})
}

// looked counts the members, when the time that look has set has come.
func (r *room) looked() {
	r.pace.timer = evloop.TimerID{}
	if !r.pace.waiting() {
		return
	}
	r.pace.late = r.loop.Now().Sub(r.pace.due)
	r.countAnew(r.fan.members)
	r.counted()
}

// notice is called for a member that was served, if it is full or all are counted. The
// first that is full has those counted that were served before it.
func (r *room) notice(c *evloop.Conn) {
	if !r.fan.tells {
		r.countAnew(r.fan.members[:r.fan.served-1])
	}
	r.count(c)
}

// countAnew begins a count with some members.
func (r *room) countAnew(members []*evloop.Conn) {
	if !r.fan.tells {
		r.fan.tells, r.pace.calm = true, r.fan.over
	}
	r.pace.counting = census{}
	for _, c := range members {
		r.count(c)
	}
}

// count looks at one member.
func (r *room) count(c *evloop.Conn) {
	a, n, now := &memberOf(c).appetite, &r.pace.counting, r.loop.Now()
	if calm := r.pace.calm; a.seen < calm { // nobody was counted then, and so c was not full
		a.low = calm
		a.charge(calm, false)
	}
	switch {
	case c.Closing():
		return
	case c.Queued() <= r.fan.half:
		a.low = now
		a.charge(now, false)
	default:
		a.charge(now, !a.over && r.pace.waiting() && !r.pace.census.crowded(0))
		if out := c.BytesOut(); out != a.taken || a.moved == 0 {
			a.taken, a.moved = out, now
		} else {
			// While the loop was late, the kernel may have been ready to take
			// more from it: nobody has halted in that time.
			a.moved = min(now, a.moved.Add(r.pace.late))
		}
		if now.Sub(a.moved) >= paceStuck {
			n.stuck++
			return
		}
		a.high = now
		n.full++
		if now.Sub(a.low) < paceRecent {
			n.near++
		}
		if a.spared(now) {
			n.spared++
		}
	}
	n.all++
	if a.high != 0 && now.Sub(a.high) < paceRecent {
		n.recent++
	}
}

// counted takes over a count that is complete.
func (r *room) counted() {
	p := &r.pace
	p.census, p.counting = p.counting, census{}
	n := &p.census
	r.fan.tells = n.full+n.stuck+n.recent > 0 || p.waiting()
	r.wake()
}

// wake lets some of the speakers that wait go on, in order.
func (r *room) wake() {
	p := &r.pace
	for range paceWake {
		list := &p.silent
		if len(*list) == 0 {
			list = &p.heard
		}
		if len(*list) == 0 {
			return
		}
		c := (*list)[0]
		if !c.Closing() && !r.free(c) {
			break
		}
		(*list)[0] = nil
		*list = (*list)[1:]
		c.Resume()
	}
	if p.timer.IsZero() {
		r.look(paceLook)
	}
}
