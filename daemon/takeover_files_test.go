// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/handover"
	"penstock/daemon/internal/record"
	"penstock/daemon/internal/report"
	"penstock/daemon/internal/service"
	"penstock/evloop/evlooptest"
)

// filesFor leaves room for less files than wanted, until the test ends.
func filesFor(t *testing.T, less int) {
	t.Helper()
	was := openFiles
	openFiles = func(want int) int { return want - less }
	t.Cleanup(func() { openFiles = was })
}

// talkTCP is talk over TCP.
func talkTCP(t *testing.T, address string) talker {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(evlooptest.Patience))
	return talker{c, t}
}

// wasReset wants a reset, whatever came before.
func (c talker) wasReset() {
	c.t.Helper()
	if b, err := io.ReadAll(c); !errors.Is(err, unix.ECONNRESET) {
		c.t.Errorf("%d bytes came, then %v, want a reset", len(b), err)
	}
}

// A link is a client of a proxy, and what its backend has of it.
type link struct{ near, far talker }

// passes wants that bytes go both ways.
func (l link) passes() {
	l.near.t.Helper()
	l.near.say("there")
	l.far.hears("there")
	l.far.say("back")
	l.near.hears("back")
}

// linked serves a proxy on TCP, in front of so many clients.
func linked(t *testing.T, clients int) (cfg *config.Config, r *running, links []link) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	cfg = parse(t, fmt.Sprintf("[service.p]\nkind = 'proxy'\nlisten = ['%s']\nto = ['%s']\n", freeAddress(t), ln.Addr()))
	r, _ = runRestartable(t, cfg)
	for range clients {
		near := talkTCP(t, cfg.Services[0].Listen[0].Text)
		far, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { far.Close() })
		_ = far.SetDeadline(time.Now().Add(evlooptest.Patience))
		l := link{near, talker{far, t}}
		l.passes()
		links = append(links, l)
	}
	return cfg, r, links
}

// goesOn reports whether the daemon serves the client of l.
func (r *running) goesOn(l link) (on bool) {
	r.do(func() {
		for c := range r.loop.Conns() {
			s, client := c.State.(*service.Session)
			on = on || client && s.Peer().Addr.String() == l.near.LocalAddr().String()
		}
	})
	return on
}

// goOn closes all links, and returns how many of them went on with both halves. Both halves of
// any other have ended, as ended checks.
func (r *running) goOn(links []link, ended func(talker)) (on int) {
	for _, l := range links {
		if r.goesOn(l) {
			on++
			l.passes()
		} else {
			ended(l.near)
			ended(l.far)
		}
		l.near.Close()
		l.far.Close()
	}
	return on
}

// TestRestartGivesUpPairs: where a file is missing, a client of a proxy is given up with its
// backend, and neither side takes that for the end. All others go on.
func TestRestartGivesUpPairs(t *testing.T) {
	for _, less := range []int{1, 2} {
		cfg, r, links := linked(t, 3)
		queue := r.leave(t)
		filesFor(t, less)
		r, out := runRestartable(t, cfg, queue)
		if on := r.goOn(links, talker.wasReset); on != 2 {
			t.Errorf("with %d files less %d pairs go on, want 2", less, on)
		}
		r.stop(t)
		wantLine(t, out, "connections of a service not taken over", "service=p", "reason=handover_incomplete", "conns=1", errFiles.Error())
		wantLine(t, out, "connections taken over", "conns=2", "cut=1")
	}
}

// TestRestartGivesUpUnkept: where nothing can be set aside, both halves of a pair end at Commit
// all the same, are counted and in the log, and the others go on.
func TestRestartGivesUpUnkept(t *testing.T) {
	for name, no := range map[string]func() *handover.Aside{
		"no numbers": func() *handover.Aside { return nil },
		"refused": func() *handover.Aside { // as if too many were on their way
			a := handover.NewAside()
			a.Close()
			return a
		},
	} {
		t.Run(name, func(t *testing.T) {
			was := newAside
			newAside = no
			t.Cleanup(func() { newAside = was })
			cfg, r, links := linked(t, 3)
			queue := r.leave(t)
			filesFor(t, 1)
			r, out := runRestartable(t, cfg, queue)
			if on := r.goOn(links, talker.hearsEnd); on != 2 {
				t.Errorf("%d pairs go on, want 2", on)
			}
			r.stop(t)
			wantLine(t, out, "connections of a service not taken over", "service=p", "reason=handover_incomplete", "conns=1")
			wantLine(t, out, "connections taken over", "conns=2", "cut=1")
		})
	}
}

// TestRestartGivesUpWithoutLoss: a client that is given up and has heard everything is
// closed in order. One for which output is queued is reset.
func TestRestartGivesUpWithoutLoss(t *testing.T) {
	cfg := parse(t, fmt.Sprintf("[service.x]\nkind = 'lookup'\nlisten = ['%s']\nanswers = { p = 'pong', q = '%s' }\n",
		freeAddress(t), strings.Repeat("a", 1<<14)))
	r, _ := runRestartable(t, cfg)
	at := cfg.Services[0].Listen[0].Text
	stays, idle, owed := talkTCP(t, at), talkTCP(t, at), talkTCP(t, at)
	for _, c := range [...]talker{stays, idle, owed} {
		c.say("p\n")
		c.hears("pong")
	}
	owed.say(strings.Repeat("q\n", 1000)) // is read at once, so that the kernel has no reason for a reset of its own
	r.until("a full queue", func() bool {
		for c := range r.loop.Conns() {
			if c.Full() {
				return true
			}
		}
		return false
	})
	queue := r.leave(t)
	filesFor(t, 2)
	r, out := runRestartable(t, cfg, queue)
	if b, err := io.ReadAll(idle); len(b) > 0 || err != nil {
		t.Errorf("who was owed nothing read %d bytes, %v, want the end", len(b), err)
	}
	owed.wasReset()
	stays.say("p\n")
	stays.hears("pong")
	stays.Close()
	r.stop(t)
	wantLine(t, out, "connections of a service not taken over", "service=x", "reason=handover_incomplete", "conns=2")
}

// TestRestartGivesUpNobodyInVain: a process that gives somebody up and ends before it serves
// has touched nobody. The next one serves all of them.
func TestRestartGivesUpNobodyInVain(t *testing.T) {
	cfg, r, links := linked(t, 2)
	queue := r.leave(t)
	kept, err := unix.FcntlInt(uintptr(queue), unix.F_DUPFD_CLOEXEC, 0) // as the service manager has it
	if err != nil {
		t.Fatal(err)
	}
	was := openFiles
	openFiles = func(want int) int { return want - 3 }
	d, err := New(cfg, Env{Log: slog.New(slog.DiscardHandler), Queues: []int{queue}})
	openFiles = was
	if err != nil {
		t.Fatal(err)
	}
	if len(d.takeover.cut) != 2 {
		t.Errorf("%d connections are given up, want a pair", len(d.takeover.cut))
	}
	for c := range d.loop.Conns() { // a process that dies closes its own copy
		none, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Dup3(none, c.FD(), unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		unix.Close(none)
	}
	d.takeover.collect()
	d.takeover.aside.Close()
	d.release()
	unix.Close(queue)
	r, _ = runRestartable(t, cfg, kept)
	for _, l := range links {
		l.passes()
	}
	r.do(func() {
		for c := range r.loop.Conns() {
			if l, err := unix.GetsockoptLinger(c.FD(), unix.SOL_SOCKET, unix.SO_LINGER); err != nil || l.Onoff != 0 {
				t.Errorf("SO_LINGER is %+v, %v", l, err)
			}
		}
	})
	for _, l := range links {
		l.far.Close()
		l.near.hearsEnd()
	}
	r.stop(t)
}

// TestRestartKeepsWhoWaits: who waits at a listener does not count for the files that
// connections may have.
func TestRestartKeepsWhoWaits(t *testing.T) {
	path := t.TempDir() + "/s"
	text := fmt.Sprintf("[service.e]\nkind = 'echo'\nlisten = ['%s']\nmax_connections = ", path)
	r, _ := runRestartable(t, parse(t, text+"1"))
	first := talk(t, path)
	first.say("x")
	first.hears("x")
	var look func()
	look = func() {
		if r.endpoints["e"].listeners[0].waiting == 0 {
			r.loop.Post(look)
			return
		}
		r.handOverBy(unix.SIGUSR2)
	}
	r.loop.Post(look)
	second := talk(t, path)
	second.say("z")
	queue := r.left(t)
	filesFor(t, 1)
	r, out := runRestartable(t, parse(t, text+"2"), queue)
	first.say("y")
	first.hears("y")
	second.hears("z")
	first.Close()
	second.Close()
	r.stop(t)
	if strings.Contains(out.String(), "not taken over") {
		t.Errorf("somebody was given up:\n%s", out)
	}
}

// TestRestartCountsTheAbsent: whoever did not come is in the log once: a client, one who
// waited, and the last bytes of one that had left.
func TestRestartCountsTheAbsent(t *testing.T) {
	record := func(tag uint64, of string) (w record.Writer) {
		w.Number(tag)
		if tag == tagRemnant {
			w.Number(0)
		} else {
			w.Text([]byte(of))
		}
		w.Text(nil)
		return w
	}
	tk := takeover{records: &handover.Records{Conns: []handover.Conn{
		{Data: record(tagClient, "p")},
		{Data: record(tagCompanion, "p")},
		{Data: record(tagRemnant, "")},
		{Data: (&newcomer{service: "w"}).save()},
		{Data: record(tagListener, "")},
		{Data: record(tagHeld, "p")},
	}}}
	tk.absent(make([]bool, len(tk.records.Conns)), nil)
	got := map[string]int{}
	for _, l := range tk.losses {
		got[l.service] += l.conns
	}
	if want := map[string]int{"p": 1, "w": 1, "": 1}; !maps.Equal(got, want) {
		t.Errorf("%v are in the log, want %v", got, want)
	}
}

// TestRestartTellsWantOfFiles: who was given up, or has never had a number, is told from who is
// not in the queue: one can be mended by a limit, and the other cannot.
func TestRestartTellsWantOfFiles(t *testing.T) {
	var client record.Writer
	client.Number(tagClient)
	client.Text([]byte("p"))
	client.Text(nil)
	conns := make([]handover.Conn, 5)
	for i := range conns {
		conns[i].Data = client
	}
	for _, tt := range []struct {
		short         bool
		files, absent int
	}{{false, 2, 2}, {true, 4, 0}} {
		tk := takeover{records: &handover.Records{Conns: conns}}
		tk.given, tk.short = []bool{1: true, 3: true, 4: false}, tt.short
		found := make([]bool, len(conns))
		found[0] = true
		tk.absent(found, nil)
		got := map[error]int{}
		for _, l := range tk.losses {
			if l.service != "p" || l.reason != report.EndIncomplete {
				t.Errorf("lost for %q, reason %v", l.service, l.reason)
			}
			got[l.err] += l.conns
		}
		if got[errFiles] != tt.files || got[errAbsent] != tt.absent {
			t.Errorf("short %v: lost %v, want %d for want of files and %d absent", tt.short, got, tt.files, tt.absent)
		}
	}
}

// TestRestartKnowsThatItIsShort: a takeover knows that the kernel had descriptors for which the
// process had no number.
func TestRestartKnowsThatItIsShort(t *testing.T) {
	cfg, r, _ := linked(t, 1)
	queue := r.leave(t)
	defer unix.Close(queue)
	for missing, want := range []bool{false, true} {
		p, err := handover.Peek(queue)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Discard()
		p.Missing = missing
		tk := takeover{d: &Daemon{cfg: cfg}}
		if tk.read(p, nil); tk.short != want {
			t.Errorf("%d missing: the limit is too low: %v, want %v", missing, tk.short, want)
		}
	}
}

// TestOpenFiles: as many as are asked for may be open if the hard limit allows it.
func TestOpenFiles(t *testing.T) {
	if got := openFiles(5); got != 5 {
		t.Errorf("%d files may be open, want the 5 that are asked for", got)
	}
}
