// SPDX-License-Identifier: Apache-2.0

package service

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"
	"unsafe"

	"penstock/evloop"
)

// hurried are the bounds of a loop whose turns are over when they have hardly
// begun, so that every line is passed on in slices.
var hurried = evloop.Config{Work: 1}

// Members come and go while lines are on their way, and each line is on its way
// for several turns. Each member that is there at the end has the whole
// conversation, in the same order: what came before it from the history, and the
// rest as it was said.
func TestRoomSlicesLoseNothing(t *testing.T) {
	const text = "kind=\"room\"\nwelcome=\"\"\nmessage=\"{line}\"\nhistory=10000\nqueue=1048576"
	r := serveLoop(t, parse(t, text), hurried)
	rng := rand.New(rand.NewPCG(1, 2))
	var members []*testClient
	for range 60 {
		members = append(members, r.dial())
	}
	speakers := []*testClient{r.dial(), r.dial(), r.dial()}
	const lines = 100
	for i := range lines {
		for s, c := range speakers {
			c.send(fmt.Sprintf("%d of %d\n", i, s))
		}
		switch rng.IntN(3) {
		case 0:
			members = append(members, r.dial())
		case 1: // some leave at once, from anywhere in the list
			r.do(func() {
				for range rng.IntN(3) {
					k := rng.IntN(len(members))
					r.loop.Conn(members[k].id).Abort(nil)
					members[k] = members[len(members)-1]
					members = members[:len(members)-1]
				}
			})
		}
	}
	size := 0
	for i := range lines {
		size += len(speakers) * len(fmt.Sprintf("%d of 0\n", i))
	}
	all := make([]byte, size)
	for i, c := range append(members, speakers...) {
		c.conn.SetReadDeadline(time.Now().Add(patience))
		got := make([]byte, size)
		for n := 0; n < size; {
			k, err := c.conn.Read(got[n:])
			if err != nil {
				t.Fatalf("member %d got %d bytes of %d, then %v", i, n, size, err)
			}
			n += k
		}
		if i == 0 {
			copy(all, got)
		} else if string(got) != string(all) {
			t.Fatalf("member %d got another conversation than the first", i)
		}
	}
	for s := range speakers {
		next := 0
		for line := range strings.Lines(string(all)) {
			var i, from int
			fmt.Sscanf(line, "%d of %d", &i, &from)
			if from != s {
				continue
			}
			if i != next {
				t.Fatalf("speaker %d: line %d came in the place of %d", s, i, next)
			}
			next++
		}
		if next != lines {
			t.Errorf("speaker %d: %d lines, want %d", s, next, lines)
		}
	}
}

// The numbers of messages begin again at zero after four thousand million, in the middle
// of a pass too, and no member loses a message or gets one twice.
func TestFanoutNumbersBeginAgain(t *testing.T) {
	r := serveLoop(t, parse(t, "kind=\"room\"\nwelcome=\"\"\nmessage=\"{line}\""), hurried)
	r.do(func() { r.svc.(*room).fan.first = ^uint32(0) - 3 })
	r.do(func() { r.svc.(*room).fan.pass = r.svc.(*room).fan.first })
	speaker := r.dial()
	var members []*testClient
	for range 3 * fanoutFew {
		members = append(members, r.dial())
	}
	var said strings.Builder
	for i := range 20 {
		fmt.Fprintf(&said, "line %d\n", i)
	}
	speaker.send(said.String())
	for _, c := range members {
		c.want(said.String())
	}
	r.do(func() {
		if n := r.svc.(*room).fan.first; n > 100 {
			t.Errorf("the next message has number %d, want one that began again", n)
		}
	})
}

// TestSessionIsSmall: 80 bytes are a class of Go's allocator, and each client has one.
func TestSessionIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(Session{}); n > 80 {
		t.Errorf("a session has %d bytes, want 80", n)
	}
}

// A fanout for whose members there is no work left serves few of them in a
// turn, and gets on all the same.
func TestFanoutIsBounded(t *testing.T) {
	const clients = 10*fanoutFew + 5
	m := &turnMeter{taken: make([]int, 1), outstanding: true}
	r := serveLoop(t, parse(t, "kind=\"ticker\"\ninterval=\"1h\""), hurried, func(r *rig) {
		m.Service, r.svc = r.svc, m
	})
	for range clients {
		r.dial()
	}
	f := m.Service.(*ticker).fan
	var turns, most int
	r.do(func() {
		f.send(evloop.NewMessage([]byte("now\n")), nil)
		served := f.served
		var tick func()
		tick = func() {
			turns++
			most = max(most, f.served-served)
			served = f.served
			if !f.idle() {
				r.loop.Post(tick)
			}
		}
		r.loop.Post(tick)
	})
	r.until("the end of the fan-out", f.idle)
	r.do(func() {
		if most > fanoutFew+1 || turns < clients/(fanoutFew+1) {
			t.Errorf("%d clients served in %d turns, at most %d in one; want at most %d", clients, turns, most, fanoutFew+1)
		}
	})
}

// A fanout gets on in a turn whose work others have spent, if only with a few.
func TestFanoutInASpentTurn(t *testing.T) {
	r := serveLoop(t, parse(t, "kind=\"ticker\"\ninterval=\"1h\""), hurried)
	busy := r.dial()
	for range 2 * fanoutFew {
		r.dial()
	}
	r.do(func() {
		for c := r.loop.Conn(busy.id); !r.loop.Spent(); {
			c.Send(evloop.NewMessage([]byte("x")))
		}
		f := r.svc.(*ticker).fan
		f.send(evloop.NewMessage([]byte("now\n")), nil)
		if f.served != fanoutFew {
			t.Errorf("%d members served, want %d", f.served, fanoutFew)
		}
	})
}

// A client whose input is /dev/null shuts its side at once, and still gets what
// the kinds that speak have to say, until it is gone.
func TestListenersStay(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	speak := func(r *rig) { r.dial().send("hi\n") }
	for _, tt := range []struct {
		name, conf, want string
		speak            func(*rig)
	}{
		{"ticker", "kind=\"ticker\"\ninterval=\"10ms\"", "ping\nping\n", func(*rig) {}},
		{"room", "kind=\"room\"\nwelcome=\"\"\nmessage=\"{line}\"", "hi\nhi\n", speak},
		{"handler", handlerKeys(exe), "hihi", func(r *rig) { r.dial().send("all hi\n") }},
		{"select-chat does not, without a name", "kind=\"room\"\npreset=\"select-chat\"", "", nil},
		{"echo has nothing to say", "kind=\"echo\"", "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := serve(t, tt.conf)
			c := r.dial()
			c.shut()
			if tt.speak == nil {
				c.wantEOF()
				return
			}
			tt.speak(r)
			tt.speak(r)
			c.want(tt.want)
			c.conn.Close()
			select {
			case <-r.ended:
			case <-time.After(patience):
				t.Error("the client has gone and is still served")
			}
		})
	}
}

// A loop that was late has not seen what a member took meanwhile, so the member
// has not halted.
func TestRoomPaceForgivesALateLoop(t *testing.T) {
	r := serve(t, "kind=\"room\"\nwelcome=\"\"\nmessage=\"{line}\"\necho_to_sender=false")
	full, speaker := r.dial(), r.dial()
	line := []byte(strings.Repeat("x", 1023) + "\n")
	for deep := false; !deep; {
		speaker.send(string(line))
		r.do(func() { deep = r.loop.Conn(full.id).Queued() > r.conf.Queue/2 })
	}
	r.do(func() {
		rm, c := r.svc.(*room), r.loop.Conn(full.id)
		rm.pace.silent = append(rm.pace.silent, r.loop.Conn(speaker.id))
		for _, tt := range []struct {
			late time.Duration
			want int
		}{{2 * paceHalt, 1}, {0, 0}} {
			a, now := &memberOf(c).appetite, r.loop.Now()
			*a = appetite{taken: c.BytesOut(), moved: now.Add(-2 * paceHalt), seen: now}
			rm.pace.due = now.Add(-tt.late)
			if rm.looked(); rm.pace.census.spared != tt.want {
				t.Errorf("late by %v: %d members are spared, want %d", tt.late, rm.pace.census.spared, tt.want)
			}
		}
	})
}

// A reply stays behind what the program said to all before it, although that is
// on its way to many for several turns. A client that only listens gets it too.
func TestHandlerBroadcastsInOrder(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := serveLoop(t, parse(t, handlerKeys(exe)), hurried, hurry)
	listener := r.dial()
	listener.shut()
	for range 100 {
		r.dial()
	}
	asker := r.dial()
	all := ""
	for i := range 20 {
		asker.send(fmt.Sprintf("all <%d>\nreply %d\n", i, i))
		asker.want(fmt.Sprintf("<%d>reply %d", i, i))
		all += fmt.Sprintf("<%d>", i)
	}
	listener.want(all)
}

// A program that floods all its clients waits as soon as many lines are on their way to
// them, so the number of such lines is bounded.
func TestHandlerFloodWaits(t *testing.T) {
	const clients, flood, most = 200, 200, 2 * fanoutMost // fanoutMost, and what was read before
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	waiting := 0
	r := serveLoop(t, parse(t, handlerKeys(exe)), hurried, hurry, func(r *rig) {
		f := r.svc.(*handler).fan
		f.each = func(*evloop.Conn) { waiting = max(waiting, len(f.out)) }
	})
	for range clients {
		r.dial()
	}
	asker := r.dial()
	asker.send(fmt.Sprintf("flood %d\n", flood))
	asker.want(strings.Repeat("x", flood))
	r.do(func() {
		if waiting < fanoutMost || waiting > most {
			t.Errorf("%d lines waited at once, want %d to %d", waiting, fanoutMost, most)
		}
	})
}
