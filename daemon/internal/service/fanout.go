// SPDX-License-Identifier: Apache-2.0

package service

import "penstock/evloop"

// A fanout passes messages to all connections of a list, in the order in which
// they were given, and in slices: a line for eight thousand members would
// otherwise be one turn of the loop, for which everybody else waits. A small
// list gets a message at once, within the callback that sends it.
//
// What is not yet with everybody lies in a list of its own. A pass goes over
// the members once and gives each of them all that was in that list when the
// pass began, so that a thousand members and ten waiting lines are a thousand
// system calls and not ten thousand. Here the pass gives 7, 8 and 9:
//
//	members   a  b  c │ d  e  f         out   7 8 9 │ 10 11
//	          ──────► served                 ─────► pass
//	          have got 7 8 9                 next pass
//
// Each member remembers the number of its next message (Session.next), so that none
// misses a message or gets it twice when the list changes. A newcomer starts after the
// last message. If a member gets a message for it alone before its turn has come, it
// first gets the messages that it has not got yet (catchUp).
//
// A cursor for each message, rather than one for all, would let later messages
// overtake earlier ones; a goroutine would need a lock around every queue.
type fanout struct {
	loop    *evloop.Loop
	bound   int            // it is behind when more bytes than this wait
	members []*evloop.Conn // members[:served] have got what the pass gives
	served  int

	out     []parcel // not yet with everybody, the oldest first
	first   uint32   // number of out[0]; numbers begin again at zero after the last one
	pass    uint32   // the pass under way gives the numbers below; first: none is
	bytes   int      // of out
	timer   evloop.TimerID
	sending func() // Env.Sending

	// With tells, each is called for every member that was served, and passed is called
	// when a pass is over. Without it, passed is not called, and each is called only for
	// members whose queue is more than half full. Both may be nil.
	tells  bool
	half   int
	each   func(*evloop.Conn)
	passed func()
	over   evloop.Time // when the last pass was over
}

// A parcel is a message and the one member that does not get it, or nil.
type parcel struct {
	m   *evloop.Message
	but *evloop.Conn
}

const (
	// fanoutFew is how many members are served in a turn whose work is spent,
	// so that every fanout gets on.
	fanoutFew = 16
	// fanoutMost is how many messages may wait before it is behind.
	fanoutMost = 64
)

// newFanout returns a fanout without members. It is behind until adjust is called.
func newFanout(env Env) *fanout { return &fanout{loop: env.Loop, sending: env.Sending} }

// adjust sets the bound of a member's queue in bytes. What may wait here must be a small
// part of it, because a member gets it in one piece.
func (f *fanout) adjust(queue int) { f.bound, f.half = queue/8, queue/2 }

func (f *fanout) end() uint32 { return f.first + uint32(len(f.out)) }

// add makes c a member, from the next message on.
func (f *fanout) add(c *evloop.Conn) {
	s := SessionOf(c)
	s.at, s.next = int32(len(f.members)), f.end()
	f.members = append(f.members, c)
}

// remove takes out c, which must be a member. The last member takes its place;
// if c was served, the last one that was served does, and the last of all takes
// the place of that one, so that members[:served] stays true.
func (f *fanout) remove(c *evloop.Conn) {
	i := int(SessionOf(c).at)
	if i < f.served {
		f.served--
		i = f.move(f.served, i)
	}
	last := f.move(len(f.members)-1, i)
	f.members[last] = nil
	f.members = f.members[:last]
}

// move puts the member at from into the free place to. It returns the place that
// is free now.
func (f *fanout) move(from, to int) int {
	if from != to {
		f.members[to] = f.members[from]
		SessionOf(f.members[to]).at = int32(to)
	}
	return from
}

// send passes m to every member but one, which may be nil.
func (f *fanout) send(m *evloop.Message, but *evloop.Conn) {
	f.sending()
	f.out = append(f.out, parcel{m, but})
	f.bytes += m.Len()
	if f.timer.IsZero() {
		f.run()
	}
}

// idle reports whether everybody has got everything.
func (f *fanout) idle() bool { return len(f.out) == 0 }

// behind reports whether so much waits that speakers have to wait too.
func (f *fanout) behind() bool { return len(f.out) >= fanoutMost || f.bytes > f.bound }

// catchUp gives c what it has not got yet. It is called before c gets something
// for it alone, and before its end.
func (f *fanout) catchUp(c *evloop.Conn) { f.give(c, f.end()) }

// settle gives everybody what has not got to them yet.
func (f *fanout) settle() {
	for _, c := range f.members {
		f.catchUp(c)
	}
}

// give passes c what it has not got of the messages before end. A member that has caught
// up may be ahead of the pass. The distance tells, since numbers begin again: it is
// never more than what waits.
func (f *fanout) give(c *evloop.Conn, end uint32) {
	s := SessionOf(c)
	for ; int32(end-s.next) > 0; s.next++ {
		if p := f.out[s.next-f.first]; p.but != c {
			c.Send(p.m)
		}
	}
}

// run goes on until everybody has everything, or the turn's work is spent.
func (f *fanout) run() {
	few := fanoutFew
	for len(f.out) > 0 {
		if f.pass == f.first {
			f.pass, f.served = f.end(), 0
		}
		for f.served < len(f.members) {
			if f.loop.Spent() {
				if few--; few < 0 {
					f.later()
					return
				}
			}
			c := f.members[f.served]
			f.served++
			f.give(c, f.pass)
			if f.each != nil && (f.tells || c.Queued() > f.half) {
				f.each(c)
			}
		}
		f.forget()
		if f.tells && f.passed != nil {
			f.passed()
		}
	}
}

// forget drops the messages of the pass that is over: all members have them.
func (f *fanout) forget() {
	n := int(f.pass - f.first)
	for _, p := range f.out[:n] {
		f.bytes -= p.m.Len()
	}
	rest := copy(f.out, f.out[n:])
	clear(f.out[rest:])
	f.out = f.out[:rest]
	f.first, f.served, f.over = f.pass, 0, f.loop.Now()
}

// later goes on in the next turn.
func (f *fanout) later() {
	f.timer = f.loop.Schedule(evloop.Timer{Deadline: f.loop.Now(), Handler: f})
}

// Expired goes on in the turn that later asked for.
func (f *fanout) Expired(*evloop.Loop, evloop.Timer) {
	f.timer = evloop.TimerID{}
	f.run()
}
