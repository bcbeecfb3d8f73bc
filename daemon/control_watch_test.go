// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"penstock/daemon/internal/control"
	"penstock/daemon/internal/service"
	"penstock/daemon/internal/view"
	"penstock/evloop"
	"penstock/evloop/evlooptest"
)

// stream calls a method and passes on its replies. begun is closed behind the first one.
func stream1[R any](r *controlled, method string, in any) (replies chan R, end chan error, c *control.Client) {
	r.t.Helper()
	c = r.dial()
	replies, end = make(chan R, 100), make(chan error, 1)
	go func() {
		end <- c.Stream(control.Interface+"."+method, in, 0, func(p json.RawMessage) error {
			var got R
			err := json.Unmarshal(p, &got)
			replies <- got
			return err
		})
	}()
	next(r.t, replies) // it has begun
	return replies, end, c
}

// next returns what comes next of a stream.
func next[R any](t testing.TB, from chan R) (got R) {
	t.Helper()
	select {
	case got = <-from:
	case <-time.After(evlooptest.Patience):
		t.Fatal("waited in vain for a reply")
	}
	return got
}

// TestWatch: a watcher gets records from its level on, with their fields, also where the
// log itself has a higher one, and only those of the service that it has named.
func TestWatch(t *testing.T) {
	eachControlled(t, twoServices, func(r *controlled) {
		defer r.stop(r.t)
		all, _, c := stream1[control.Events](r, "Watch", control.Watching{Level: "debug"})
		beta, _, _ := stream1[control.Events](r, "Watch", control.Watching{Service: "beta"})
		r.clients(1, "b.sock")
		over := talk(r.t, filepath.Join(r.dir, "b.sock"))
		over.hearsEnd()
		got := next(r.t, beta)
		if len(got.Events) != 1 || got.Events[0].Message != "connection refused" || got.Events[0].Level != "warn" ||
			got.Events[0].Fields["reason"] != "max_connections" || got.Events[0].Fields["service"] != "beta" || got.Events[0].Time.IsZero() {
			r.t.Errorf("of beta came %+v", got)
		}
		one := r.clients(1, "a.sock")[0]
		_ = one.Close()
		for seen := false; !seen; {
			seen = slices.ContainsFunc(next(r.t, all).Events, func(e control.Event) bool {
				return e.Message == "connection closed" && e.Level == "debug" && e.Fields["service"] == "alpha"
			})
		}
		_ = c.Close()
		r.until("one is left", func() bool { return len(r.watchers.list) == 1 })
		r.do(func() {
			if r.watchers.wants(slog.LevelDebug) {
				r.t.Error("debug records are still made")
			}
		})
		for _, tt := range []struct {
			in   any
			want *control.Error
		}{
			{map[string]int{"level": 1}, control.InvalidParameter("")},
			{control.Watching{Level: "loud"}, control.InvalidParameter("")},
			{control.Watching{Service: "gamma"}, control.NoSuchService("")},
		} {
			err := r.dial().Stream(control.Interface+".Watch", tt.in, evlooptest.Patience, func(json.RawMessage) error { return errors.New("a reply") })
			if !errors.Is(err, tt.want) {
				r.t.Errorf("Watch(%v): %v", tt.in, err)
			}
		}
	})
}

// TestWatchPast: whoever comes later is told the latest records, of its service and level,
// and each of them once.
func TestWatchPast(t *testing.T) {
	eachControlled(t, twoServices, func(r *controlled) {
		defer r.stop(r.t)
		r.do(func() {
			for i := range 2 * mostPast {
				r.watchers.tell(watched{control.Event{Message: strconv.Itoa(i), Fields: map[string]string{"service": "beta"}}, slog.LevelWarn, 1})
			}
			r.watchers.tell(watched{control.Event{Message: "quiet"}, slog.LevelDebug, 1})
			r.watchers.tell(watched{control.Event{Message: "of alpha", Fields: map[string]string{"service": "alpha"}}, slog.LevelInfo, 1})
			if len(r.watchers.past) != mostPast {
				r.t.Errorf("%d are kept", len(r.watchers.past))
			}
		})
		past := func(in control.Watching) (got []string) {
			c := r.dial()
			enough := errors.New("enough")
			err := c.Stream(control.Interface+".Watch", in, evlooptest.Patience, func(p json.RawMessage) error {
				var events control.Events
				if err := json.Unmarshal(p, &events); err != nil {
					return err
				}
				for _, e := range events.Events {
					got = append(got, e.Message)
				}
				return enough
			})
			if !errors.Is(err, enough) {
				r.t.Error(err)
			}
			_ = c.Close()
			return got
		}
		if got := past(control.Watching{}); len(got) > 0 {
			r.t.Errorf("without past came %q", got)
		}
		got := past(control.Watching{Past: true, Level: "debug"})
		if len(got) != mostPast || got[0] != strconv.Itoa(mostPast+1) || got[mostPast-1] != "of alpha" {
			r.t.Errorf("with past came %q", got)
		}
		if got := past(control.Watching{Past: true, Level: "warn", Service: "beta"}); len(got) != mostPast-1 || got[mostPast-2] != strconv.Itoa(2*mostPast-1) {
			r.t.Errorf("of one service came %q", got)
		}
		if got := past(control.Watching{Past: true, Level: "warn", Service: "alpha"}); len(got) != 0 {
			r.t.Errorf("of a level came %q", got)
		}
	})
}

// TestTap: a tap shows what goes over a connection, both ways, with who it is; that of one
// connection shows no other, and ends with it; that of a bridge shows its program too.
func TestTap(t *testing.T) {
	eachControlled(t, joinedServices+"[service.p]\nkind='echo'\nlisten=['DIR/p']\n", func(r *controlled) {
		defer r.stop(r.t)
		a := talk(r.t, filepath.Join(r.dir, "e"))
		a.say("before")
		a.hears("before")
		pieces, _, first := stream1[control.Pieces](r, "Tap", control.Tapping{Service: "e"})
		a.say("hello")
		a.hears("hello")
		b := talk(r.t, filepath.Join(r.dir, "e")) // comes while somebody looks
		b.say("\xff")
		b.hears("\xff")
		var got []string
		var ids []uint64
		for len(got) < 4 {
			for _, p := range next(r.t, pieces).Pieces {
				got, ids = append(got, p.Direction+" "+string(p.Bytes())), append(ids, p.ID)
				if p.Peer == nil || p.Peer.PID == 0 || p.Time.IsZero() {
					r.t.Errorf("a piece is %+v", p)
				}
			}
		}
		if want := []string{"in hello", "out hello", "in \xff", "out \xff"}; !slices.Equal(got, want) || ids[0] != ids[1] || ids[0] == ids[2] {
			r.t.Errorf("the tap has shown %q of %v, want %q", got, ids, want)
		}
		only, end, _ := stream1[control.Pieces](r, "Tap", control.Tapping{ID: ids[2]})
		_ = first.Close()
		r.until("one looks", func() bool { return len(r.endpoints["e"].taps) == 1 })
		a.say("a")
		a.hears("a")
		b.say("b")
		b.hears("b")
		if p := next(r.t, only).Pieces; len(p) == 0 || string(p[0].Bytes()) != "b" || p[0].Direction != control.DirectionIn {
			r.t.Errorf("of one connection came %+v", p)
		}
		_ = b.Close()
		for err := error(nil); err == nil; {
			select {
			case <-only:
			case err = <-end:
				if !errors.Is(err, control.NoSuchConnection(0)) {
					r.t.Errorf("the tap ended with %v", err)
				}
			}
		}
		r.until("nobody looks", func() bool { return r.endpoints["e"].taps == nil })
	})
}

// TestTapBridge: the tap of a bridge shows its program too, and that of an exec whose
// program has the socket is refused.
func TestTapBridge(t *testing.T) {
	eachControlled(t, joinedServices, func(r *controlled) {
		defer r.stop(r.t)
		pieces, _, _ := stream1[control.Pieces](r, "Tap", control.Tapping{Service: "b"})
		if _, err := r.publish(control.Publication{Service: "b"}, "x"); err != nil {
			r.t.Fatal(err)
		}
		var got []string
		for len(got) < 2 {
			for _, p := range next(r.t, pieces).Pieces {
				if got = append(got, p.Direction+" "+string(p.Bytes())); p.ID != 0 || p.Peer != nil {
					r.t.Errorf("a piece of the program is %+v", p)
				}
			}
		}
		if want := []string{"out x\n", "in x\n"}; !slices.Equal(got, want) {
			r.t.Errorf("the tap has shown %q, want %q", got, want)
		}
		var seen control.Services
		if err := r.dial().Call(control.Interface+".Services", control.ServiceFilter{Service: "b"}, &seen); err != nil {
			r.t.Fatal(err)
		}
		if of := seen.Services[0].Source; of == nil || of.Traffic != (view.Traffic{In: 2, Out: 2}) {
			r.t.Errorf("of the program is counted %+v", of)
		}
		for _, tt := range []struct {
			in   any
			want *control.Error
		}{
			{control.Tapping{}, control.InvalidParameter("service")},
			{control.Tapping{Service: "b", ID: 1}, control.InvalidParameter("service")},
			{control.Tapping{Service: "nobody"}, control.NoSuchService("nobody")},
			{control.Tapping{ID: 1 << 40}, control.NoSuchConnection(1 << 40)},
		} {
			err := r.dial().Stream(control.Interface+".Tap", tt.in, evlooptest.Patience, func(json.RawMessage) error { return errors.New("a reply") })
			if err == nil || err.Error() != tt.want.Error() {
				r.t.Errorf("Tap(%v): %v, want %v", tt.in, err, tt.want)
			}
		}
	})
}

// TestStreamBound: what waits for a watcher that is not told is bounded, the newest stays,
// and no turn tells more than its portion.
func TestStreamBound(t *testing.T) {
	var told, missed int
	loop, err := evloop.New(evloop.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer loop.Close()
	fd, _ := evlooptest.Pair(t, "unix")
	k := &controlSocket{d: &Daemon{loop: loop}, users: map[uint32]int{}}
	a := &asker{}
	if a.conn, err = loop.Add(fd, evloopMute{}, a); err != nil {
		t.Fatal(err)
	}
	s := &stream[int]{k: k, a: a, bound: 10 * (itemSize + 1), leave: func() {}, tell: func(items []int, n uint64) any {
		told, missed = told+len(items), missed+int(n)
		return items
	}}
	for i := range 1000 {
		s.push(i, 1)
	}
	if len(s.list) != 10 || s.list[9].v != 999 || s.missed != 990 {
		t.Errorf("%d wait, the last is %d, %d are missed", len(s.list), s.list[9].v, s.missed)
	}
	s.bound = 1 << 30
	for i := range 1000 {
		s.push(i, 1)
	}
	for steps := 0; s.pending(); steps++ {
		before := told
		if s.step() || told-before > tellItems {
			t.Fatalf("step %d told %d", steps, told-before)
		}
	}
	if told != 1010 || missed != 990 || s.bytes != 0 {
		t.Errorf("%d told, %d missed, %d bytes wait", told, missed, s.bytes)
	}
}

type evloopMute struct{ evloop.Base }

func (evloopMute) Data(_ *evloop.Conn, p []byte) int { return len(p) }
func (evloopMute) Closed(*evloop.Conn, error)        {}

// FuzzWatch and FuzzTap: whatever is asked for, nobody looks who is gone.
func FuzzWatch(f *testing.F) {
	for _, s := range []string{`{}`, `{"level":"debug","service":"e"}`, `{"level":""}`, `{"level":null,"x":1}`, `{"past":true}`, `{"past":1}`} {
		f.Add([]byte(s))
	}
	fuzzCalls(f, "Watch", false, func(t *testing.T, d *Daemon) {
		if n := len(d.watchers.list); n > 0 {
			t.Errorf("%d watch", n)
		}
	})
}

func FuzzTap(f *testing.F) {
	for _, s := range []string{`{"service":"e"}`, `{"id":1}`, `{"id":-1}`, `{"id":1e3}`, `{"service":"x"}`, `{"service":"e","id":0}`} {
		f.Add([]byte(s))
	}
	fuzzCalls(f, "Tap", false, func(t *testing.T, d *Daemon) {
		for _, ep := range d.all() {
			if ep.taps != nil {
				t.Errorf("%d look at %s", len(ep.taps), ep.conf.Name)
			}
		}
		for c := range d.loop.Conns() {
			if s, ok := c.State.(*service.Session); ok {
				t.Errorf("%v is a client", s.Peer())
			}
		}
	})
}
