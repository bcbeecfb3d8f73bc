// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/control"
)

// TestControlKick: a client is ended by its number, or by service and peer, and no other.
func TestControlKick(t *testing.T) {
	r := runControlled(t, twoServices)
	defer r.stop(t)
	a, b := r.clients(3, "a.sock"), r.clients(1, "b.sock")
	c := r.dial()
	all, _ := listClients(t, c, "alpha")
	var out control.Kicked
	if err := c.Call(control.Interface+".Kick", control.Kick{ID: all[0].ID}, &out); err != nil || out.Kicked != 1 {
		t.Fatalf("Kick = %v, %v", out, err)
	}
	r.until("one is gone", func() bool { return r.Daemon.clients() == 3 })
	if err := c.Call(control.Interface+".Kick", control.Kick{ID: all[0].ID}, nil); !errors.Is(err, control.NoSuchConnection(0)) {
		t.Errorf("once more: %v", err)
	}
	if err := c.Call(control.Interface+".Kick", control.Kick{Service: "alpha", Peer: all[0].Peer.Host()}, &out); err != nil || out.Kicked != 2 {
		t.Errorf("Kick = %v, %v", out, err)
	}
	for _, conn := range a {
		if _, err := io.ReadAll(conn); err != nil && !errors.Is(err, unix.ECONNRESET) {
			t.Error(err)
		}
	}
	r.until("only the other service has one", func() bool { return r.Daemon.clients() == 1 })
	if _, err := b[0].Write([]byte("x")); err != nil {
		t.Error(err)
	}
	var got control.Services
	if err := c.Call(control.Interface+".Services", control.ServiceFilter{Service: "alpha"}, &got); err != nil || got.Services[0].Cut["kicked"] != 3 {
		t.Errorf("%+v, %v", got, err)
	}
	for peer, names := range map[string]bool{
		"192.0.2.1": true, "192.0.2.1:4000": true, "[2001:db8::1]:1": true, "2001:db8::1": true, "uid 1": true, "uid 1 pid 2": true,
		"garbage": false, "192.0.2": false, "uid": false, "uid x": false, "uid -1": false, "pid 2": false, "uid 1 pid": false, "uid 1 uid 1": false, "uid 1 pid 2 uid 3": false,
	} {
		err := c.Call(control.Interface+".Kick", control.Kick{Service: "alpha", Peer: peer}, nil)
		if got := err == nil || err.Error() != control.InvalidParameter("peer").Error(); got != names {
			t.Errorf("Kick of %q: %v", peer, err)
		}
	}
	for _, in := range []control.Kick{{}, {Service: "alpha"}, {ID: 1, Service: "alpha", Peer: "x"}} {
		if err := c.Call(control.Interface+".Kick", in, nil); err == nil || err.Error() != control.InvalidParameter("id").Error() {
			t.Errorf("Kick(%+v): %v", in, err)
		}
	}
}

// TestControlDrain: a drained service lets nobody in and leaves its clients alone, through
// a reload too; Resume serves first the one that has waited.
func TestControlDrain(t *testing.T) {
	r := runControlled(t, twoServices)
	defer r.stop(t)
	here := r.clients(1, "a.sock")
	c := r.dial()
	if err := c.Call(control.Interface+".Drain", control.Drain{Service: "alpha"}, nil); err != nil {
		t.Fatal(err)
	}
	waiting, err := net.Dial("unix", filepath.Join(r.dir, "a.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	if _, err := io.WriteString(waiting, "waited"); err != nil {
		t.Fatal(err)
	}
	echo := func(conn net.Conn, text string) {
		t.Helper()
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(text))
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != text {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if _, err := r.dial().Connect("alpha", ""); err == nil || !strings.Contains(err.Error(), "no new clients") {
		t.Errorf("Connect: %v", err)
	}
	echo(here[0], "one")
	r.do(func() {
		if err := r.putInForce(r.cfg); err != nil {
			t.Error(err)
		}
	})
	echo(here[0], "two")
	var got control.Services
	if err := c.Call(control.Interface+".Services", control.ServiceFilter{Service: "alpha"}, &got); err != nil || !got.Services[0].Drained || got.Services[0].Clients != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if err := c.Call(control.Interface+".Drain", control.Drain{Service: "alpha", Now: true}, nil); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(here[0]); err != nil || len(b) > 0 {
		t.Errorf("%q, %v, want an orderly end", b, err)
	}
	if err := c.Call(control.Interface+".Resume", control.Resume{Service: "alpha"}, nil); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, len("waited"))
	if _, err := io.ReadFull(waiting, b); err != nil || string(b) != "waited" {
		t.Errorf("the one that waited got %q, %v", b, err)
	}
}

// TestDrainedForgotten: a service that comes after one of its name was removed is open.
func TestDrainedForgotten(t *testing.T) {
	r := runControlled(t, twoServices)
	defer r.stop(t)
	if err := r.dial().Call(control.Interface+".Drain", control.Drain{Service: "alpha"}, nil); err != nil {
		t.Fatal(err)
	}
	r.do(func() {
		both, one := r.cfg, *r.cfg
		one.Services = slices.DeleteFunc(slices.Clone(one.Services), func(s *config.Service) bool { return s.Name == "alpha" })
		for _, cfg := range []*config.Config{&one, both} {
			if err := r.putInForce(cfg); err != nil {
				t.Error(err)
			}
		}
		if len(r.drained) > 0 || r.endpoints["alpha"].shut() {
			t.Errorf("a new service of the name of one that was drained lets nobody in")
		}
	})
}

// TestControlDrainLeft: whoever asks for a drain may go, and all clients are finished.
func TestControlDrainLeft(t *testing.T) {
	r := runControlled(t, twoServices)
	defer r.stop(t)
	r.clients(kickPortion+2, "a.sock")
	caller := r.dial()
	if err := caller.Call(control.Interface+".Status", nil, nil); err != nil { // it is in
		t.Fatal(err)
	}
	r.do(func() {
		for c := range r.loop.Conns() {
			if a, ok := c.State.(*asker); ok {
				r.control.begin(a, control.Call{Method: control.Interface + ".Drain", Parameters: []byte(`{"service":"alpha","now":true}`)})
				r.control.work() // the call
				r.control.work() // a portion
				c.Abort(io.EOF)
			}
		}
	})
	r.until("nobody is there", func() bool { return r.Daemon.clients() == 0 && len(r.control.due) == 0 })
}

// TestDrainedCarried: the next process knows which services let nobody in, and forgets a
// service that it does not have.
func TestDrainedCarried(t *testing.T) {
	cfg := parse(t, "[service.a]\nkind='echo'\nlisten=['@a']\n[service.b]\nkind='echo'\nlisten=['@b']\n")
	old := &Daemon{cfg: cfg, drained: map[string]bool{"a": true, "gone": true}}
	next := &Daemon{cfg: cfg, drained: map[string]bool{}}
	next.loadDrained(old.saveDrained())
	if got := next.closedDoors(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("drained are %v", got)
	}
	next.loadDrained(nil)
	next.loadDrained([]byte{200, 200, 200})
	if got := next.closedDoors(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("after records that are none: %v", got)
	}
}

// TestControlReload: the result is that of a reading that begins after the call, whether
// the files are taken or refused.
func TestControlReload(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "p.toml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	good := "[service.a]\nkind='echo'\nlisten=['" + dir + "/a.sock']\n"
	write(good)
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	level := new(slog.LevelVar)
	d, err := New(cfg, Env{
		Log: slog.New(slog.DiscardHandler), Level: level, Control: filepath.Join(dir, "control"), Ready: func() { close(ready) },
		Load: func(context.Context) (*config.Config, error) { return config.Load(file) },
	})
	if err != nil {
		t.Fatal(err)
	}
	r := &controlled{run(t, d), filepath.Join(dir, "control"), dir}
	defer r.stop(t)
	<-ready
	c := r.dial()
	write(good + "[service.b]\nkind='echo'\nlisten=['" + dir + "/b.sock']\n")
	var out control.Reloaded
	if err := c.Call(control.Interface+".Reload", nil, &out); err != nil || out.Status != "2 services, 0 connections" {
		t.Errorf("Reload = %q, %v", out.Status, err)
	}
	write(good + "[service.b]\nkind='nonsense'\n")
	done := make(chan error, 2)
	for _, asks := range []*control.Client{c, r.dial()} { // two at once, and each has its answer
		go func() { done <- asks.Call(control.Interface+".Reload", nil, nil) }()
	}
	for range 2 {
		if reason, ok := control.Reason(<-done); !ok || reason == "" {
			t.Errorf("the mistake was answered with %q", reason)
		}
	}
	if err := c.Call(control.Interface+".SetLogLevel", control.LogLevel{Level: "debug"}, nil); err != nil || level.Level() != slog.LevelDebug {
		t.Errorf("SetLogLevel: %v, %v", level.Level(), err)
	}
	if err := c.Call(control.Interface+".SetLogLevel", control.LogLevel{Level: "INFO"}, nil); err == nil {
		t.Error("INFO is no level")
	}
}
