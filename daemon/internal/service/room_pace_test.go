// SPDX-License-Identifier: Apache-2.0

package service

import (
	"testing"
	"time"

	"penstock/evloop"
)

// TestRoomPace: when a speaker goes on and when it waits, row by row of what
// roomPace says. The one that asks is one of eleven members.
func TestRoomPace(t *testing.T) {
	const all, most = 11, 6 // more than half of the ten others
	for _, tt := range []struct {
		name   string
		census census
		self   bool // the one that asks is full, and there is patience with it
		free   bool
	}{
		{"nobody is full", census{all: all}, false, true},
		{"most are full", census{all: all, full: most, recent: most}, false, false},
		{"half are full, and there is no patience with them", census{all: all, full: most - 1, recent: most - 1, near: most - 1}, false, true},
		{"most were full, and one is", census{all: all, full: 1, near: 1, recent: most}, false, false},
		{"most were full, and one has been for a second", census{all: all, full: 1, recent: most}, false, true},
		{"most were full, and nobody is", census{all: all, recent: most}, false, true},
		{"one halts", census{all: all, full: 1, near: 1, recent: 1, spared: 1}, false, false},
		{"one has halted for too long", census{all: all, full: 1, near: 1, recent: 1}, false, true},
		{"most are full, with the one that asks", census{all: all, full: most, recent: most, near: most}, true, true},
		{"most were full, with the one that asks", census{all: all, full: 1, near: 1, recent: most}, true, true},
		{"the one that asks halts", census{all: all, full: 1, near: 1, recent: 1, spared: 1}, true, true},
		{"the only one is full", census{all: 1, full: 1, near: 1, recent: 1, spared: 1}, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := serve(t, "kind=\"room\"")
			id := r.dial().id
			r.do(func() {
				room, c := r.svc.(*room), r.loop.Conn(id)
				room.pace.census = tt.census
				if tt.self {
					room.fan.half = -1
					memberOf(c).appetite.moved = r.loop.Now()
				}
				if got := room.free(c); got != tt.free {
					t.Errorf("free %t, want %t", got, tt.free)
				}
				room.fan.bytes = room.fan.bound + 1
				if room.free(c) {
					t.Error("free while lines wait that not every member was given")
				}
				room.fan.bytes = 0
			})
		})
	}
}

// TestRoomCounts: how a member counts that has more than half a queue before it.
func TestRoomCounts(t *testing.T) {
	const long = paceStuck + time.Second
	for _, tt := range []struct {
		name       string
		moved, low time.Duration // since then
		over       bool          // all patience with it is used up
		want       census
	}{
		{"reads, and was not full a moment ago", 0, 0, false, census{all: 1, full: 1, near: 1, recent: 1, spared: 1}},
		{"reads, and is full all the time", 0, long, false, census{all: 1, full: 1, recent: 1, spared: 1}},
		{"reads, and there is no patience with it", 0, 0, true, census{all: 1, full: 1, near: 1, recent: 1}},
		{"halts", paceHalt, 0, false, census{all: 1, full: 1, near: 1, recent: 1}},
		{"does not read", paceStuck, long, false, census{stuck: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := serve(t, "kind=\"room\"")
			id := r.dial().id
			r.do(func() {
				room, c, now := r.svc.(*room), r.loop.Conn(id), r.loop.Now()
				room.fan.half = -1
				memberOf(c).appetite = appetite{
					taken: c.BytesOut(), moved: now.Add(-tt.moved), low: now.Add(-tt.low), seen: now, over: tt.over,
				}
				if tt.over {
					memberOf(c).appetite.spent = pacePatience
				}
				room.count(c)
				if got := room.pace.counting; got != tt.want {
					t.Errorf("counts as %+v, want %+v", got, tt.want)
				}
			})
		})
	}
}

// TestPatience: the room has a second of patience with a member, which its waiting
// uses up, and a tenth of the time in which nobody waits for it gives back.
func TestPatience(t *testing.T) {
	const look = 10 * time.Millisecond
	var a appetite
	now := evloop.Time(time.Hour)
	a.seen = now
	pass := func(d time.Duration, waits bool) {
		for ; d > 0; d -= look {
			now = now.Add(look)
			a.charge(now, waits)
		}
	}
	step := func(what string, over bool) {
		t.Helper()
		if a.over != over {
			t.Errorf("%s: the patience is over %t, want %t", what, a.over, over)
		}
	}
	pass(pacePatience-look, true)
	step("nearly a second", false)
	pass(look, true)
	step("a second", true)
	pass(paceRegain*(paceAgain-look), false)
	step("too little was given back", true)
	pass(paceRegain*2*look, false)
	step("enough was given back", false)
	pass(2*paceAgain, true)
	step("and used up", true)

	// What happened before a member was first counted is nobody's waiting.
	b := appetite{seen: now}
	b.charge(now.Add(time.Minute), true)
	if b.spent != paceCharge {
		t.Errorf("%v of patience is used up by one count, want %v", b.spent, paceCharge)
	}
}

// TestRoomCountsFromTheFirstThatIsFull: members are counted, all of them, in the pass
// that finds the first full one, and until nobody was full within the last second.
func TestRoomCountsFromTheFirstThatIsFull(t *testing.T) {
	r := serve(t, "kind=\"room\"\njoin=\"\"\nwelcome=\"\"")
	for range 3 {
		r.dial()
	}
	r.do(func() {
		rm := r.svc.(*room)
		full, now := rm.fan.members[1], r.loop.Now()
		pass := func() { rm.fan.send(evloop.NewMessage([]byte("hi\n")), nil) }
		rm.fan.half = 500
		full.Write(make([]byte, 1000))
		before := now.Add(-time.Minute)
		rm.fan.over = before // the last pass
		for _, c := range rm.fan.members {
			memberOf(c).appetite = appetite{low: before - 1, seen: before - 1, spent: pacePatience}
		}
		pass()
		if got, want := rm.pace.census, (census{all: 3, full: 1, recent: 1, spared: 1}); got != want || !rm.fan.tells {
			t.Errorf("with one full: %+v, and the fanout tells %t; want %+v", got, rm.fan.tells, want)
		}
		if a := &memberOf(full).appetite; a.low != before {
			t.Errorf("the full one was last not full at %v, want %v, when the last pass was over", a.low, before)
		}
		rm.fan.half = 5000
		pass()
		if got, want := rm.pace.census, (census{all: 3, recent: 1}); got != want || !rm.fan.tells {
			t.Errorf("a moment later: %+v, and the fanout tells %t; want %+v", got, rm.fan.tells, want)
		}
		memberOf(full).appetite.high = now.Add(-2 * paceRecent)
		pass()
		if got, want := rm.pace.census, (census{all: 3}); got != want || rm.fan.tells {
			t.Errorf("a second later: %+v, and the fanout tells %t; want %+v", got, rm.fan.tells, want)
		}
		memberOf(full).appetite.low = before
		pass()
		if memberOf(full).appetite.low != before {
			t.Error("members are counted although nobody was full")
		}
	})
}
