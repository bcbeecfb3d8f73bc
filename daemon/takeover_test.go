// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/handover"
	"penstock/daemon/internal/service"
)

// repack has edit change what is in a queue, and returns another one. A descriptor that
// edit sets to -1 is not in it.
func repack(t *testing.T, queue int, h handover.Header, edit func(r *handover.Records, fds []int)) int {
	t.Helper()
	p, err := handover.Peek(queue)
	if err != nil {
		t.Fatal(err)
	}
	r, err := handover.Decode(p.Records)
	if err != nil {
		t.Fatal(err)
	}
	edit(r, p.FDs)
	b, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	q, err := handover.NewQueue()
	if err != nil {
		t.Fatal(err)
	}
	var fds []int
	for _, fd := range p.FDs {
		if fd >= 0 {
			fds = append(fds, fd)
		}
	}
	if _, err := q.Fill(h, b, fds); err != nil {
		t.Fatal(err)
	}
	next, err := q.Keep()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Commit(); err != nil {
		t.Fatal(err)
	}
	p.Discard()
	q.Close()
	return next
}

// wantLine wants a line with all of the words in a log.
func wantLine(t *testing.T, log *bytes.Buffer, words ...string) {
	t.Helper()
	for line := range strings.Lines(log.String()) {
		found := true
		for _, w := range words {
			found = found && strings.Contains(line, w)
		}
		if found {
			return
		}
	}
	t.Errorf("no line of the log has %q:\n%s", words, log)
}

// A stuffed is a client that has sent more than it has read of its echo.
type stuffed struct {
	talker
	payload []byte
}

func (r *running) stuff(path string) stuffed {
	r.t.Helper()
	c := stuffed{talk(r.t, path), bytes.Repeat([]byte("0123456789abcdef"), 1<<16)}
	go c.Write(c.payload)
	r.until("a full queue", func() bool {
		for c := range r.loop.Conns() {
			if _, ok := c.State.(*service.Session); ok && c.Full() {
				return true
			}
		}
		return false
	})
	return c
}

// hearsQueued wants all that the daemon had queued for the client, and then the end.
func (c stuffed) hearsQueued(kernel int) {
	c.t.Helper()
	got, err := io.ReadAll(c)
	c.Close()                                           // the daemon waits for it
	if err != nil && !errors.Is(err, unix.ECONNRESET) { // what it has still to say is not read
		c.t.Errorf("there is no end: %v", err)
	}
	if !bytes.HasPrefix(c.payload, got) || len(got) <= kernel {
		c.t.Errorf("%d bytes of the echo came (%v), want more than the %d that the kernel had", len(got), err, kernel)
	}
}

// gone returns how many bytes have gone out to the only client with output.
func (r *running) gone() (n int) {
	r.do(func() {
		for c := range r.loop.Conns() {
			if _, ok := c.State.(*service.Session); ok {
				n = max(n, int(c.BytesOut()))
			}
		}
	})
	return n
}

// TestRestartTooLate: after five minutes in the queue a client gets what it was due, and
// the end, with the reason in the log. The port is open.
func TestRestartTooLate(t *testing.T) {
	path := t.TempDir() + "/s"
	cfg := parse(t, fmt.Sprintf("[service.e]\nkind = 'echo'\nlisten = ['%s']\n", path))
	r, _ := runRestartable(t, cfg)
	c := r.stuff(path)
	kernel := r.gone()
	queue := repack(t, r.leave(t), handover.Header{Written: handover.Now() - handover.MaxAge - 1}, func(*handover.Records, []int) {})
	r, out := runRestartable(t, cfg, queue)
	c.hearsQueued(kernel)
	if got, err := ask(path, "new"); got != "new" || err != nil {
		t.Errorf("a new client heard %q, %v", got, err)
	}
	r.stop(t)
	wantLine(t, out, "connections of a service not taken over", "service=e", "reason=handover_expired", "conns=1")
	wantLine(t, out, "connection cut", "service=e", "reason=handover_expired")
}

// TestRestartFinishesWhoStaysBehind: a client of a service that is gone, or is another
// one now, gets what is queued for it.
func TestRestartFinishesWhoStaysBehind(t *testing.T) {
	for name, keys := range map[string]string{
		"gone": "[service.other]\nkind = 'echo'\nlisten = ['%s.other']", "another kind": "[service.e]\nkind = 'discard'\nlisten = ['%s']",
	} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir() + "/s"
			r, _ := runRestartable(t, parse(t, fmt.Sprintf("[service.e]\nkind = 'echo'\nlisten = ['%s']\n", path)))
			c := r.stuff(path)
			kernel := r.gone()
			r, out := r.restart(t, parse(t, fmt.Sprintf(keys, path)))
			c.hearsQueued(kernel)
			r.stop(t)
			wantLine(t, out, "connections of a service not taken over", "service=e", "reason=shutdown", "conns=1")
		})
	}
}

// TestRestartTellsOfTheMissing: the members of a room hear of one whose connection is
// not in the queue, as if it had left. One whose record is damaged is closed. Both are
// in the log, and the rest is served.
func TestRestartTellsOfTheMissing(t *testing.T) {
	path := t.TempDir() + "/s"
	cfg := parse(t, fmt.Sprintf("[service.r]\nkind = 'room'\nlisten = ['%s']\nwelcome = ''\njoin = ''\nleave = '* {name} left'\n", path))
	r, _ := runRestartable(t, cfg)
	var members []talker
	for _, name := range []string{"anna", "ben", "carl"} {
		c := talk(t, path)
		c.say("/nick " + name + "\n")
		r.until(name, func() bool { return r.lastID == uint64(len(members)+1) })
		r.taken("r", len("/nick "+name+"\n"))
		members = append(members, c)
	}
	ends := make([]string, 3)
	queue := repack(t, r.leave(t), handover.Header{}, func(rec *handover.Records, fds []int) {
		for i := range ends {
			switch {
			case bytes.Contains(rec.Conns[i].Data, []byte("ben")):
				unix.Close(fds[i])
				fds[i] = -1
			case bytes.Contains(rec.Conns[i].Data, []byte("carl")):
				rec.Conns[i].Data[len(rec.Conns[i].Data)-1] ^= 1 // the sum of evloop's record
			}
		}
	})
	r, out := runRestartable(t, cfg, queue)
	anna := members[0]
	for line := ""; !strings.HasSuffix(line, "* ben left\n"); {
		b := make([]byte, 1)
		if _, err := anna.Read(b); err != nil {
			t.Fatalf("after %q: %v", line, err)
		}
		line += string(b)
	}
	if b, err := io.ReadAll(members[2]); err != nil || strings.Contains(string(b), "left") {
		t.Errorf("carl heard %q, %v, want the end", b, err)
	}
	anna.say("still here\n")
	anna.hears("anna: still here\n")
	anna.Close()
	members[2].Close()
	r.stop(t)
	wantLine(t, out, "service=r", "reason=handover_incomplete", "conns=1")
	wantLine(t, out, "service=r", "reason=handover_unreadable", "conns=1")
}

// TestRestartKeepsThePorts: a listener that came along is known without its record.
func TestRestartKeepsThePorts(t *testing.T) {
	for _, path := range []string{t.TempDir() + "/s", "@penstock-" + fmt.Sprint(os.Getpid())} {
		cfg := parse(t, fmt.Sprintf("[service.e]\nkind = 'echo'\nlisten = ['%s']\n", path))
		r, _ := runRestartable(t, cfg)
		c := talk(t, path)
		c.say("x")
		c.hears("x")
		queue := r.leave(t)
		before := oldestRead
		oldestRead = recordVersion + 1
		r, out := runRestartable(t, cfg, queue)
		oldestRead = before
		c.hearsEnd()
		if got, err := ask(path, "new"); got != "new" || err != nil {
			t.Errorf("%s: a new client heard %q, %v", path, got, err)
		}
		r.stop(t)
		wantLine(t, out, "connections not taken over", "reason=handover_unreadable", "conns=1")
	}
}

// TestRestartRemovesFiles: the file of a socket that no service lists any more goes with
// the socket. One that somebody else has put there stays.
func TestRestartRemovesFiles(t *testing.T) {
	dir := t.TempDir()
	text := func(name string) string {
		return fmt.Sprintf("[service.%s]\nkind = 'echo'\nlisten = ['%s/%s']\n", name, dir, name)
	}
	r, _ := runRestartable(t, parse(t, text("stays")+text("goes")+text("lost")))
	queue := r.leave(t)
	if err := os.Remove(dir + "/lost"); err != nil {
		t.Fatal(err)
	}
	other, err := net.Listen("unix", dir+"/lost")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	r, _ = runRestartable(t, parse(t, text("stays")), queue)
	for name, want := range map[string]bool{"stays": true, "goes": false, "lost": true} {
		if _, err := os.Stat(dir + "/" + name); (err == nil) != want {
			t.Errorf("file of %s: %v, want that it is there: %v", name, err, want)
		}
	}
	r.stop(t)
}

// TestRestartRefusesNobody: neither who was put off because all places were taken, nor
// who comes in the last turn of the loop.
func TestRestartRefusesNobody(t *testing.T) {
	for _, backend := range []string{"epoll", "auto"} {
		path := t.TempDir() + "/s"
		text := fmt.Sprintf("[loop]\nbackend = '%s'\n[service.e]\nkind = 'echo'\nlisten = ['%s']\nmax_connections = ", backend, path)
		r, _ := runRestartable(t, parse(t, text+"1"))
		first := talk(t, path)
		first.say("x")
		first.hears("x")
		var late talker
		var look func()
		look = func() {
			if r.endpoints["e"].listeners[0].waiting == 0 {
				r.loop.Post(look)
				return
			}
			r.handOverBy(unix.SIGUSR2)
			late = talk(t, path)
		}
		r.loop.Post(look)
		second := talk(t, path)
		second.say("y")
		r, out := runRestartable(t, parse(t, text+"3"), r.left(t))
		second.hears("y")
		late.say("z")
		late.hears("z")
		for _, c := range []talker{first, second, late} {
			c.Close()
		}
		r.stop(t)
		if strings.Contains(out.String(), "refused") {
			t.Errorf("somebody was refused:\n%s", out)
		}
	}
}

// TestRestartCountsWhoStays: clients that are more than limits.connections stay, and a
// newcomer waits until there is room.
func TestRestartCountsWhoStays(t *testing.T) {
	path := t.TempDir() + "/s"
	text := fmt.Sprintf("[service.e]\nkind = 'echo'\nlisten = ['%s']\n", path)
	r, _ := runRestartable(t, parse(t, text))
	stay := []talker{talk(t, path), talk(t, path)}
	for _, c := range stay {
		c.say("x")
		c.hears("x")
	}
	r, _ = r.restart(t, parse(t, "[limits]\nconnections = 1\n"+text))
	next := talk(t, path)
	next.say("y")
	for range 3 { // turns in which it would be let in
		r.do(func() {
			if n := r.endpoints["e"].accepted; n != 0 {
				t.Errorf("%d clients were let in, with two where one may be", n)
			}
		})
	}
	for _, c := range stay {
		c.say("z")
		c.hears("z")
		c.Close()
	}
	next.hears("y")
	next.Close()
	r.stop(t)
}

// TestRestartRemembersTheSilent: a client that connected and closed without a word before
// a restart gives its place to the next one after it.
func TestRestartRemembersTheSilent(t *testing.T) {
	r, connect := silentRig(t, "epoll", "", silentRoom+"\nmax_connections = 1")
	connect().Close()
	r.awaitSilent(1)
	var text string
	r.do(func() {
		r.env.Managed = false // so that the queue is kept here, and the listener in it
		text = r.endpoints["echo"].listeners[0].Text
	})
	r, _ = r.restart(t, parse(t, fmt.Sprintf("[service.echo]\nlisten = ['%s']\n%s\nmax_connections = 1\n", text, silentRoom)))
	asks := connect()
	if got, err := sayAndHear(asks, "you\n", 4); got != "you\n" {
		t.Errorf("%q, %v; want a place", got, err)
	}
	asks.Close()
	r.stop(t)
}
