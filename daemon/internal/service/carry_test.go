// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/device"
	"penstock/daemon/internal/record"
	"penstock/daemon/internal/report"
	"penstock/daemon/internal/view"
	"penstock/evloop"
	"penstock/evloop/evlooptest"
)

// carriers are services whose records are read, by their keys.
var carriers = []string{
	"kind=\"room\"\npreset=\"select-chat\"\nhistory=3",
	"kind=\"ticker\"\ninterval=\"1h\"",
	"kind=\"handler\"\ncommand=[\"/bin/true\"]",
	"kind=\"chargen\"",
	"kind=\"tail\"\nfile=\"log\"\nhistory=3",
	"kind=\"bridge\"\ncommand=[\"/bin/true\"]\nhistory=3\nwrite=\"first\"",
	"kind=\"proxy\"\nto=[\"/run/b\"]",
}

// TestCarriers: a kind that knows more of a connection than the loop does takes it along
// to the next process, and is among those whose records are read. It is seen by what
// it has left in the session, or a timer, when a client has begun to talk. A kind that
// knows nothing needs no code.
func TestCarriers(t *testing.T) {
	var known []config.Kind
	for _, keys := range carriers {
		known = append(known, parse(t, keys).Kind)
	}
	for _, kind := range config.Kinds() {
		keys := "kind=\"" + string(kind) + "\""
		switch kind {
		case config.KindHandler, config.KindBridge, config.KindExec:
			keys += "\ncommand=[\"/bin/true\"]"
		case config.KindTail:
			keys += "\nfile=\"log\""
		case config.KindProxy:
			keys += "\nto=[\"/run/b\"]"
		}
		env, conf := quietEnv(t), parse(t, keys)
		svc, err := New(conf, env)
		if err != nil {
			t.Fatal(err)
		}
		_, carries := svc.(Carrier)
		if carries != slices.Contains(known, kind) {
			t.Errorf("%s is a Carrier: %v, and in the list carriers: %v", kind, carries, !carries)
		}
		if remembers(t, env.Loop, svc) && !carries && conf.Persist != config.PersistOff { // no client of an exec goes on
			t.Errorf("%s remembers something of a client and is no Carrier: a restart would lose it", kind)
		}
	}
}

// remembers reports whether svc knows something of a client that has sent half a message.
func remembers(t *testing.T, loop *evloop.Loop, svc Service) bool {
	t.Helper()
	fd, _ := evlooptest.Pair(t, "unix")
	timers, s := loop.Stats().Timers, &Session{ID: 7}
	c, err := loop.Add(fd, svc, s)
	if err != nil {
		t.Fatal(err)
	}
	svc.Data(c, []byte("P"))
	return s.Data != nil || loop.Stats().Timers > timers
}

// TestRemembers: the look at a kind finds one that has nothing to carry it with.
func TestRemembers(t *testing.T) {
	for _, tt := range []struct {
		svc  Service
		want bool
	}{{&echo{}, false}, {forgetful{}, true}} {
		if got := remembers(t, quietEnv(t).Loop, tt.svc); got != tt.want {
			t.Errorf("%T remembers something of a client: %v, want %v", tt.svc, got, tt.want)
		}
	}
}

// forgetful counts what each client has sent and does not carry it.
type forgetful struct{ echo }

func (forgetful) Data(c *evloop.Conn, p []byte) int {
	SessionOf(c).Data = len(p)
	return len(p)
}

func quietEnv(t testing.TB) Env {
	t.Helper()
	loop, err := evloop.New(evloop.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { loop.Close() })
	return Env{
		Loop: loop, Log: report.New(slog.New(slog.DiscardHandler), config.PeersFull, loop).Service("x"),
		Now: time.Now, Sending: func() {}, Lose: func(report.Reason, int) {},
		Beside: func(int) {}, Tune: func(int, uint64) {}, Hold: func(bool) {}, Changed: func() {}, Folders: device.NewFolders(loop),
	}
}

// TestTickerKeepsItsClock: a payload that was due while nobody served comes at once, and
// the next one when it would have come without the restart.
func TestTickerKeepsItsClock(t *testing.T) {
	env := quietEnv(t)
	s := newTicker(parse(t, "kind=\"ticker\"\ninterval=\"1h\""), env)
	due := env.Loop.Now().Add(-time.Minute)
	var w record.Writer
	w.Number(uint64(time.Hour))
	w.Number(uint64(due))
	if err := s.Load(w); err != nil {
		t.Fatal(err)
	}
	s.Expired(env.Loop, evloop.Timer{})
	if want := due.Add(time.Hour); s.next != want {
		t.Errorf("the next payload is %v off", s.next.Sub(want))
	}
}

// FuzzCarried: what a service takes for the record of a connection, it writes back with
// the same bytes. Nothing ends the process.
func FuzzCarried(f *testing.F) {
	for i := range carriers {
		for _, state := range []string{"", "\x03abc\x01\x00", "\x03abc\x01\x01", "\x02\x02PI", "\x00\x00\x00\x00\x00\x00", "\x05\x09\x01\x00\x01\x01z"} {
			f.Add(uint8(i), []byte(state))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, state []byte) {
		env := quietEnv(t)
		svc, err := New(parse(t, carriers[int(which)%len(carriers)]), env)
		if err != nil {
			t.Fatal(err)
		}
		fd, _ := evlooptest.Pair(t, "unix")
		c, err := env.Loop.Add(fd, mute{}, &Session{ID: 7})
		if err != nil {
			t.Fatal(err)
		}
		if svc.(Carrier).LoadConn(c, state) != nil {
			return
		}
		if got := svc.(Carrier).SaveConn(c); !bytes.Equal(got, state) {
			t.Errorf("%q is written back as %q", state, got)
		}
	})
}

// mute is a handler of a connection that nothing happens to.
type mute struct{ evloop.Base }

func (mute) Data(_ *evloop.Conn, p []byte) int { return len(p) }
func (mute) Closed(*evloop.Conn, error)        {}

// FuzzLoad: what a service as a whole remembers it writes back, and what it has written it
// reads and writes again as the same bytes, however often it is handed on.
func FuzzLoad(f *testing.F) {
	f.Add(uint8(0), []byte("\x01\x03abc"))
	f.Add(uint8(0), []byte("\x01\x03abc\x09\x05\x06client\x00\x00\x00\x01\x01\x02"))
	f.Add(uint8(0), []byte("\x02\x03abc")) // two lines, of which one is missing
	f.Add(uint8(0), []byte("\x00\x09\x00\x05attic\x02\x03amy\x03bob\x01b\x01\x01x"))
	f.Add(uint8(1), []byte("\x05\x07"))
	for i := range carriers {
		svc, err := New(parse(f, carriers[i]), quietEnv(f))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), bytes.Clone(svc.(Carrier).Save()))
	}
	f.Fuzz(func(t *testing.T, which uint8, state []byte) {
		svc, err := New(parse(t, carriers[int(which)%len(carriers)]), quietEnv(t))
		if err != nil {
			t.Fatal(err)
		}
		if svc.(Carrier).Load(state) != nil {
			return
		}
		if r, ok := svc.(*room); ok && len(r.history.list) < r.conf.History {
			if got := r.Save(); !bytes.HasPrefix(got, state) || r.feed.last > 0 && !bytes.Equal(got, state) { // without numbers: of version 2
				t.Errorf("%q is written back as %q", state, got)
			}
		}
		saved := bytes.Clone(svc.(Carrier).Save())
		again, err := New(parse(t, carriers[int(which)%len(carriers)]), quietEnv(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := again.(Carrier).Load(saved); err != nil {
			t.Fatalf("%q, written back as %q, is not read: %v", state, saved, err)
		}
		if got := again.(Carrier).Save(); !bytes.Equal(got, saved) {
			t.Errorf("%q is written back as %q, and that as %q", state, saved, got)
		}
	})
}

// FuzzSession: a session is read back as it was written, and only so.
func FuzzSession(f *testing.F) {
	for _, s := range []Session{
		{ID: 1, Since: 5, peer: small(view.Peer{UID: 1000, PID: 4711})},
		{ID: 1 << 50, Since: 1 << 60, peer: small(view.Peer{Addr: netip.MustParseAddrPort("192.0.2.1:7")})},
		{ID: 3, peer: small(view.Peer{Addr: netip.MustParseAddrPort("[fe80::1%eth0]:7")})},
	} {
		var w record.Writer
		s.Save(&w)
		f.Add([]byte(w))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var s Session
		r := record.NewReader(b)
		if s.Load(r) != nil || r.Err() != nil {
			return
		}
		var w record.Writer
		if s.Save(&w); !bytes.Equal(w, b) {
			t.Errorf("%x is written back as %x", b, []byte(w))
		}
	})
}

// TestBlockedOverRestarts: for how long a client waits until a handler's program, or the
// source of a bridge, takes its message is counted through a restart. A restart that waits
// for the program does not count, and cuts nobody.
func TestBlockedOverRestarts(t *testing.T) {
	for kind, until := range map[string]func(c *evloop.Conn) evloop.Time{
		"handler": func(c *evloop.Conn) evloop.Time { return clientOf(c).until },
		"bridge":  func(c *evloop.Conn) evloop.Time { return callerOf(c).until },
	} {
		t.Run(kind, func(t *testing.T) {
			keys := "command=[\"/bin/true\"]\nidle_timeout=\"1m\"\ndrain_timeout=\"2m\"\n"
			if kind == "bridge" {
				keys += "write=\"any\"\n"
			}
			blockedOverRestarts(t, parse(t, "kind=\""+kind+"\"\n"+keys), until)
		})
	}
}

func blockedOverRestarts(t *testing.T, conf *config.Service, until func(c *evloop.Conn) evloop.Time) {
	env := quietEnv(t)
	open := func() (Service, *evloop.Conn) {
		svc, err := New(conf, env)
		if err != nil {
			t.Fatal(err)
		}
		fd, _ := evlooptest.Pair(t, "unix")
		c, err := env.Loop.Add(fd, mute{}, &Session{ID: 7})
		if err != nil {
			t.Fatal(err)
		}
		c.SetOptions(&evloop.Options{IdleTimeout: time.Minute})
		return svc, c
	}
	old, waits := open()
	old.Open(waits)
	old.Data(waits, []byte("message\n"))
	want := until(waits)
	if due := env.Loop.Now().Add(time.Minute); want != due {
		t.Errorf("a client waits until %v, want %v", want, due)
	}
	next, again := open()
	if err := next.(Carrier).LoadConn(again, old.(Carrier).SaveConn(waits)); err != nil {
		t.Fatal(err)
	}
	timers := env.Loop.Stats().Timers
	next.Data(again, []byte("message\n"))
	if got := until(again); got != want || env.Loop.Stats().Timers != timers+1 {
		t.Errorf("after a restart it waits until %v with %d timers more, want %v and one", got, env.Loop.Stats().Timers-timers, want)
	}
	old.(Suspender).Suspend(time.Minute, func() {})
	if got, due := until(waits), want.Add(time.Minute); got != due || env.Loop.Stats().Timers != timers {
		t.Errorf("when a restart begins it waits until %v with %d timers more, want %v and one less", got, env.Loop.Stats().Timers-timers, due)
	}
	leaving, c := open()
	leaving.Open(c)
	leaving.(Suspender).Suspend(time.Minute, func() {})
	timers = env.Loop.Stats().Timers
	leaving.Data(c, []byte("message\n"))
	if got, due := until(c), env.Loop.Now().Add(3*time.Minute); got != due || env.Loop.Stats().Timers != timers {
		t.Errorf("in a restart it waits until %v with %d timers more, want %v and none", got, env.Loop.Stats().Timers-timers, due)
	}
}
