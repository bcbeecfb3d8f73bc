// SPDX-License-Identifier: Apache-2.0

package evloop

// Timers are data, not closures, and wait in two four-ary heaps: one for the
// timers of users, one for the single deadline (idle, stall, flush) of each
// connection. The loop sleeps until the earlier of the two tops. Nothing wakes
// it periodically, so a loop without timers and deadlines sleeps until there is
// an event. A wheel would be cheaper for a million timers, but would wake for
// empty slots.

// A Timer is what Schedule takes and Expired gets back.
type Timer struct {
	// Deadline is the moment from which on Expired is called.
	Deadline Time
	// Kind tells a handler's timers apart; the loop does not look at it.
	Kind int
	// Conn is the connection that the timer belongs to; it is cancelled when
	// that closes. Zero means none.
	Conn ConnID
	// Handler is called. It must not be nil.
	Handler TimerHandler
}

// A TimerID names a scheduled timer of one loop. It is comparable; the zero value
// names none.
type TimerID struct {
	loop      *Loop
	slot, gen uint32
}

// IsZero reports whether id is the zero value, which names no timer.
func (id TimerID) IsZero() bool { return id == TimerID{} }

// timerSlot holds a timer, or is free; free slots are chained through next.
type timerSlot struct {
	Timer
	gen  uint32
	next uint32 // next timer of the same connection, or next free slot; plus one
}

type timers struct {
	heap  minHeap
	slots []timerSlot
	free  uint32 // plus one
}

// Schedule arms t. A timer for a connection that is already closed is not armed:
// the zero TimerID is returned.
func (l *Loop) Schedule(t Timer) TimerID {
	l.checkCaller()
	var owner *Conn
	if t.Conn != (ConnID{}) {
		if owner = l.Conn(t.Conn); owner == nil {
			return TimerID{}
		}
	}
	ts := &l.timers
	var i uint32
	if ts.free != 0 {
		i = ts.free - 1
		ts.free = ts.slots[i].next
	} else {
		i = uint32(len(ts.slots))
		ts.slots = append(ts.slots, timerSlot{gen: 1})
	}
	s := &ts.slots[i]
	s.Timer, s.next = t, 0
	if owner != nil {
		s.next, owner.timers = owner.timers, i+1
	}
	// A timer that is due already waits for the next turn: two handlers that
	// arm such timers could otherwise hold the loop for ever.
	ts.heap.set(i, max(t.Deadline, l.now+1))
	return TimerID{l, i, s.gen}
}

// Cancel disarms a timer and reports whether it was still armed. The zero
// TimerID, and one of another loop, are never armed.
func (l *Loop) Cancel(id TimerID) bool {
	l.checkCaller()
	if id.loop != l || l.timers.slots[id.slot].gen != id.gen || !l.timers.heap.has(id.slot) {
		return false
	}
	l.retire(id.slot)
	return true
}

// retire takes timer i off the heap and its connection's chain and returns it.
func (l *Loop) retire(i uint32) Timer {
	ts := &l.timers
	ts.heap.remove(i)
	s := &ts.slots[i]
	t := s.Timer
	if t.Conn != (ConnID{}) {
		if c := l.Conn(t.Conn); c != nil {
			at := &c.timers
			for *at != i+1 {
				at = &ts.slots[*at-1].next
			}
			*at = s.next
		}
	}
	s.Timer = Timer{}
	s.gen++
	if s.gen == 0 {
		s.gen = 1
	}
	s.next, ts.free = ts.free, i+1
	return t
}

// cancelTimers disarms everything that belongs to c.
func (l *Loop) cancelTimers(c *Conn) {
	for c.timers != 0 {
		l.retire(c.timers - 1)
	}
	l.deadlines.remove(c.slot)
}
