// SPDX-License-Identifier: Apache-2.0

package boards

import (
	"testing"
	"time"
)

// begun returns a room in the middle of things: "a" is there, and is asked for lines that
// are missing, "b" is there and even, and one line of each has been delivered.
func begun(t *testing.T) (*Room, time.Time) {
	t.Helper()
	now := time.Unix(1000, 0)
	r := New(Options{Room: "lobby", Board: "me", History: 10, Boards: 4})
	r.Joined(now, "ours", 20, 19)
	r.Line(now, 20, "ann", "hello", "")
	r.Up(now)
	for _, m := range []struct{ topic, payload string }{
		{"penstock/board/a", Online},
		{"penstock/room/lobby/board/a", `{"series":"s1","last":5,"start":5,"names":["zoe"]}`},
		{"penstock/room/lobby/line/a", `{"series":"s1","number":6,"prev":5,"name":"zoe","text":"six"}`},
		{"penstock/room/lobby/line/a", `{"series":"s1","number":9,"prev":8,"name":"zoe","text":"nine"}`},
		{"penstock/board/b", Online},
		{"penstock/room/lobby/line/b", `{"series":"t1","number":3,"name":"bob","text":"three"}`},
	} {
		r.Heard(now, m.topic, []byte(m.payload), false)
	}
	now = now.Add(2 * time.Second)
	r.Tick(now)
	if a, b := r.find("a"), r.find("b"); a == nil || b == nil || a.phase != asked || b.phase != even {
		t.Fatalf("a is %+v, b is %+v", a, b)
	}
	return r, now
}

// bounded finds what is beyond its bound.
func bounded(t *testing.T, r *Room) {
	t.Helper()
	check := func(what string, n, most int) {
		if n > most {
			t.Errorf("%d %s, more than %d", n, what, most)
		}
	}
	check("boards", len(r.peers), r.o.Boards)
	for _, p := range r.peers {
		check("lines held", len(p.held), heldLines)
		check("names", len(p.names), mostNames)
		check("former series", len(p.past), mostSeries)
		check("series that follow", len(p.route), mostSeries+mostBefore+1)
		if p.seen > max(p.last, p.seen) || p.seen > maxNumber {
			t.Errorf("%s: seen %d, last %d", p.board, p.seen, p.last)
		}
	}
	check("bytes held", r.heldBytes(), heldBytes)
	check("lines for the daemon", len(r.delivery.list), queueLines)
	check("lines given out", r.delivery.given, window)
	check("asks that wait", len(r.answers.list), r.o.Boards)
	check("boards online", len(r.online), mostOnline)
	check("strangers", len(r.strangers), mostStrangers)
	check("lines of the history", len(r.recent.list), r.o.History)
	check("marks", len(r.marks), mostMarks)
	check("twins", len(r.twins), mostSeries)
}

// FuzzHeard: whatever comes on whatever topic, bounds hold, no line is delivered twice,
// what goes out is small and goes to this room's topics, and the state can be loaded.
func FuzzHeard(f *testing.F) {
	for _, s := range []struct{ topic, payload string }{
		{"penstock/board/c", Online},
		{"penstock/board/a", Offline},
		{"penstock/room/lobby/line/a", `{"series":"s1","number":7,"prev":6,"text":"seven"}`},
		{"penstock/room/lobby/line/a", `{"series":"s2","number":1,"before":[{"series":"s1","last":12}],"base64":"/w=="}`},
		{"penstock/room/lobby/board/a", `{"series":"s3","last":70368744177663,"before":[{"series":"s2","last":2}]}`},
		{"penstock/room/lobby/board/b", ``},
		{"penstock/room/lobby/ask/me", `{"from":"b","series":"ours","after":0,"upto":20}`},
		{"penstock/room/lobby/ask/me", `{"from":"b","history":5}`},
		{"penstock/room/lobby/ask/me", `{"from":"b"}`},
		{
			"penstock/room/lobby/answer/me",
			`{"from":"a","series":"s1","after":6,"upto":8,"lines":[{"series":"s1","number":7,"prev":6,"text":"seven"}]}`,
		},
		{
			"penstock/room/lobby/answer/me",
			`{"from":"b","history":true,"lines":[{"board":"c","series":"u","number":1,"text":"x"}]}`,
		},
		{"penstock/room/lobby/answer/me", `{"from":"c","board":{"series":"u","last":3,"names":["eve"]}}`},
		{"penstock/room/lobby/line/me", `{"series":"other","number":1}`},
	} {
		f.Add(s.topic, []byte(s.payload), s.topic, []byte(s.payload), false)
	}
	f.Fuzz(func(t *testing.T, topic1 string, payload1 []byte, topic2 string, payload2 []byte, retained bool) {
		r, now := begun(t)
		delivered := map[string]bool{}
		take := func() {
			for _, o := range r.Take() {
				switch o := o.(type) {
				case Deliver:
					if delivered[o.Tag] {
						t.Errorf("%s is delivered twice", o.Tag)
					}
					delivered[o.Tag] = true
					r.Landed(now, o.Tag)
				case Send:
					if _, to, ok := parseTopic(o.Topic, "lobby"); len(o.Payload) > maxPayload || !ok || to == "" {
						t.Errorf("%d bytes to %q", len(o.Payload), o.Topic)
					}
				}
			}
			bounded(t, r)
		}
		for range 2 {
			r.Heard(now, topic1, payload1, retained)
			take()
			r.Heard(now, topic2, payload2, retained)
			take()
			for range 50 {
				at, ok := r.Next()
				if !ok {
					break
				}
				if at.After(now) {
					now = at
				}
				r.Tick(now)
				take()
			}
		}
		if _, err := Load(r.o, r.Save()); err != nil {
			t.Error(err)
		}
	})
}
