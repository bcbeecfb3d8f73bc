// SPDX-License-Identifier: Apache-2.0

package boards

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var start = time.Unix(1000, 0)

// of returns the outputs of one type.
func of[O Output](out []Output) (list []O) {
	for _, o := range out {
		if o, ok := o.(O); ok {
			list = append(list, o)
		}
	}
	return list
}

// sent returns the lines that go out.
func sent(t *testing.T, out []Output) (list []line) {
	t.Helper()
	for _, s := range of[Send](out) {
		if strings.Contains(s.Topic, "/line/") {
			var l line
			if err := json.Unmarshal(s.Payload, &l); err != nil {
				t.Fatal(err)
			}
			list = append(list, l)
		}
	}
	return list
}

func newRoom() *Room { return New(Options{Room: "lobby", Board: "me", History: 10}) }

// TestOwnLines: each line names the own one before it, whatever others have said between.
func TestOwnLines(t *testing.T) {
	r := newRoom()
	r.Joined(start, "s", 0, 0)
	r.Up(start)
	r.Line(start, 1, "ann", "one", "")
	r.Line(start, 2, "bob", "two", tag("other", "o", 1))
	r.Line(start, 3, "ann", "three", "")
	r.Line(start, 3, "ann", "three", "") // again: a double
	r.Line(start, 6, "ann", "six", "")   // 4 and 5 were dropped by the daemon
	out := r.Take()
	var got []string
	for _, l := range sent(t, out) {
		got = append(got, fmt.Sprintf("%d behind %d: %s", l.Number, l.Prev, l.Text))
	}
	if want := []string{"1 behind 0: one", "3 behind 1: three", "6 behind 5: six"}; !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
	if got, want := of[Lost](out), []Lost{{Board: "me", Series: "s", From: 4, To: 5}}; !slices.Equal(got, want) {
		t.Errorf("lost %+v, want %+v", got, want)
	}
}

// TestUnsent: what is said while the broker is away goes out when it is back. What was said
// before it was ever there does not, nor does anything while it is away.
func TestUnsent(t *testing.T) {
	r := newRoom()
	r.Joined(start, "s", 0, 0)
	r.Line(start, 1, "ann", "alone", "")
	r.Up(start)
	r.Down(start)
	r.Take()
	r.Line(start, 2, "ann", "cut off", "")
	if out := of[Send](r.Take()); len(out) > 0 {
		t.Errorf("sent without a broker: %+v", out)
	}
	r.Up(start)
	if got := sent(t, r.Take()); len(got) != 1 || got[0].Number != 2 || got[0].Prev != 1 {
		t.Errorf("sent %+v, want the second line", got)
	}
}

// TestLongLine: a line that fits into no message is lost, and others find that out.
func TestLongLine(t *testing.T) {
	r := newRoom()
	r.Joined(start, "s", 0, 0)
	r.Up(start)
	r.Line(start, 1, "ann", strings.Repeat("x", maxPayload), "")
	r.Line(start, 2, "ann", "short", "")
	out := r.Take()
	if got := sent(t, out); len(got) != 1 || got[0].Number != 2 || got[0].Prev != 1 {
		t.Errorf("sent %+v, want the second line behind the first", got)
	}
	if got := of[Lost](out); len(got) != 1 || got[0].From != 1 || got[0].To != 1 {
		t.Errorf("lost %+v, want the first line", got)
	}
}

// TestKept: a board keeps its last lines, and answers in parts that fit into a message.
func TestKept(t *testing.T) {
	r := newRoom()
	r.Joined(start, "s", 0, 0)
	r.Up(start)
	const most = leastKept + 500
	for n := range uint64(most) {
		r.Line(start, n+1, "ann", strings.Repeat("x", 100), "")
	}
	r.Take()
	got, after, asks, now := 0, uint64(0), 0, start
	for ; after < most && asks < 100; asks++ {
		now = now.Add(time.Second)
		r.Heard(now, "penstock/room/lobby/ask/me", fmt.Appendf(nil, `{"from":"b","series":"s","after":%d,"upto":%d}`, after, most), false)
		var a answer
		s := of[Send](r.Take())
		if len(s) == 0 || len(s[0].Payload) > maxPayload || json.Unmarshal(s[0].Payload, &a) != nil || a.Upto <= after {
			t.Fatalf("ask %d, after %d: %+v", asks, after, s)
		}
		got, after = got+len(a.Lines), a.Upto
	}
	if got != leastKept || asks < 2 {
		t.Errorf("%d lines in %d answers, want %d", got, asks, leastKept)
	}
}

// TestTwin: another machine of the same name is told of once, and nothing of it is taken.
func TestTwin(t *testing.T) {
	r := newRoom()
	r.Joined(start, "s", 0, 0)
	r.Up(start)
	r.Take()
	for n := range uint64(5) {
		r.Heard(start, "penstock/room/lobby/line/me", fmt.Appendf(nil, `{"series":"z","number":%d,"prev":%d}`, n+1, n), false)
		r.Heard(start, "penstock/room/lobby/board/me", []byte(`{"series":"z","last":1}`), false)
	}
	r.Heard(start, "penstock/room/lobby/board/me", []byte(`{"series":"old","last":1}`), true) // our own, from before
	if got, want := r.Take(), []Output{Twin{"z"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("outputs %+v, want %+v", got, want)
	}
}

// TestCrowded: there is a bound of boards. One that is not there makes room.
func TestCrowded(t *testing.T) {
	r := New(Options{Room: "lobby", Board: "me", Boards: 2})
	r.Joined(start, "s", 0, 0)
	r.Up(start)
	say := func(board string) {
		r.Heard(start, BoardTopic(board), []byte(Online), false)
		r.Heard(start, "penstock/room/lobby/line/"+board, []byte(`{"series":"x","number":1}`), false)
	}
	say("a")
	say("b")
	say("c")
	say("d")
	if got, want := of[Crowded](r.Take()), []Crowded{{"c"}}; !slices.Equal(got, want) {
		t.Errorf("crowded %+v, want %+v", got, want)
	}
	r.Heard(start, BoardTopic("a"), []byte(Offline), false)
	say("d")
	if got := of[Deliver](r.Take()); len(got) != 1 || got[0].Board != "d" {
		t.Errorf("delivered %+v, want a line of d", got)
	}
}

// TestDaemonAway: lines wait for the daemon, within a bound, and what goes is lost aloud.
func TestDaemonAway(t *testing.T) {
	r := New(Options{Room: "lobby", Board: "me"})
	r.Joined(start, "s", 0, 0)
	r.Left(start)
	r.Up(start)
	for n := range uint64(queueLines + 10) {
		r.Heard(start, "penstock/room/lobby/line/a", fmt.Appendf(nil, `{"series":"x","number":%d,"prev":%d,"text":"t"}`, n+1, n), false)
	}
	bounded(t, r)
	out := r.Take()
	if got := of[Deliver](out); len(got) > 0 {
		t.Errorf("delivered without a daemon: %+v", got)
	}
	if got := of[Lost](out); len(got) != 10 || got[0].From != 1 || got[9].To != 10 {
		t.Errorf("lost %+v, want the first 10", got)
	}
	r.Joined(start, "s", 0, 0)
	for n := uint64(11); n <= queueLines+10; {
		list := of[Deliver](r.Take())
		if len(list) == 0 {
			t.Fatalf("nothing is delivered from %d on", n)
		}
		for _, d := range list {
			if want := tag("a", "x", n); d.Tag != want {
				t.Fatalf("delivered %s, want %s", d.Tag, want)
			}
			r.Landed(start, d.Tag)
			n++
		}
	}
}

// TestDaemonRefuses: a line that the daemon does not want is lost aloud, and once.
func TestDaemonRefuses(t *testing.T) {
	r := New(Options{Room: "lobby", Board: "me"})
	r.Joined(start, "s", 0, 0)
	r.Up(start)
	for n := range uint64(2) {
		r.Heard(start, "penstock/room/lobby/line/a", fmt.Appendf(nil, `{"series":"x","number":%d,"prev":%d,"text":"t"}`, n+1, n), false)
	}
	list := of[Deliver](r.Take())
	if len(list) != 2 {
		t.Fatalf("delivered %+v", list)
	}
	r.Refused(start, list[0].Tag)
	r.Landed(start, list[1].Tag)
	r.Refused(start, list[1].Tag)
	want := []Lost{{Board: "a", Series: "x", From: 1, To: 1}}
	if got := of[Lost](r.Take()); !slices.Equal(got, want) || r.Counts().Delivered != 1 {
		t.Errorf("lost %+v, delivered %d, want %+v and 1", got, r.Counts().Delivered, want)
	}
}

// TestPresence: a will takes the people of a board with it, and a short break of our own
// connection nobody.
func TestPresence(t *testing.T) {
	r := newRoom()
	now := start
	r.Joined(now, "s", 0, 0)
	r.Up(now)
	hear := func() {
		r.Heard(now, BoardTopic("a"), []byte(Online), true)
		r.Heard(now, "penstock/room/lobby/board/a", []byte(`{"series":"x","names":["zoe"]}`), true)
	}
	steps := []struct {
		name string
		do   func()
		want []Output
	}{
		{"it comes", hear, []Output{Present{"a", []string{"zoe"}}, Reach{true, 1}}},
		{"a break", func() { r.Down(now); now = now.Add(lapseTime / 2); r.Tick(now); r.Up(now); hear() }, nil},
		{"a will", func() { r.Heard(now, BoardTopic("a"), []byte(Offline), false) }, []Output{Present{"a", nil}, Reach{true, 0}}},
		{"it is back", hear, []Output{Present{"a", []string{"zoe"}}, Reach{true, 1}}},
		{"a long break", func() { r.Down(now); now = now.Add(lapseTime); r.Tick(now) }, []Output{Reach{false, 0}}},
	}
	r.Take()
	for _, s := range steps {
		s.do()
		var got []Output
		for _, o := range r.Take() {
			if _, is := o.(Send); !is {
				got = append(got, o)
			}
		}
		if !reflect.DeepEqual(got, s.want) {
			t.Errorf("%s: %+v, want %+v", s.name, got, s.want)
		}
	}
}

// TestSaved: a state is for its room and board alone, and nothing else is one.
func TestSaved(t *testing.T) {
	r, _ := begun(t)
	state := r.Save()
	o := r.o
	if again, err := Load(o, state); err != nil || string(again.Save()) != string(state) {
		t.Errorf("a state that was loaded is saved as another one (%v):\n%s\n%s", err, state, again.Save())
	}
	o.Board = "another"
	for _, tt := range []struct {
		o     Options
		state string
	}{{o, string(state)}, {r.o, "{}"}, {r.o, "garbage"}, {r.o, string(state[:len(state)/2])}} {
		if _, err := Load(tt.o, []byte(tt.state)); !errors.Is(err, ErrDamaged) {
			t.Errorf("load of %.20q for %s: %v", tt.state, tt.o.Board, err)
		}
	}
}

// TestTags: the longest tag fits, and is read as it was written.
func TestTags(t *testing.T) {
	board, series := strings.Repeat("b", longestBoard), strings.Repeat("s", longestSeries)
	s := tag(board, series, maxNumber)
	if len(s) > 64 {
		t.Errorf("a tag has %d bytes", len(s))
	}
	if b, q, n, ok := parseTag(s); b != board || q != series || n != maxNumber || !ok {
		t.Errorf("parseTag(%q) = %q, %q, %d, %v", s, b, q, n, ok)
	}
	for _, bad := range []string{"", "mqtt:", "mqtt:b:s:0", "mqtt:b:s", "mqtt:b+:s:1", "mqtt:b:s:1:2", "web:b:s:1"} {
		if _, _, _, ok := parseTag(bad); ok {
			t.Errorf("%q is taken for a tag", bad)
		}
	}
}
