// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/service"
	"penstock/evloop/evlooptest"
)

// backendAt is where the backend of that name listens.
func backendAt(name string) string { return fmt.Sprintf("@penstock-test-%d-%s", os.Getpid(), name) }

// serveBackends serves a backend of each name.
func serveBackends(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		serveBackend(t, name)
	}
}

// serveBackend says back what a client has said, behind its name, until the test ends.
func serveBackend(t *testing.T, name string) {
	t.Helper()
	ln, err := net.Listen("unix", backendAt(name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				said, _ := io.ReadAll(c)
				_, _ = fmt.Fprintf(c, "%s %s", name, said)
			}()
		}
	}()
}

// A relayed is a backend whose connections are the test's.
type relayed struct {
	t *testing.T
	net.Listener
}

func relay(t *testing.T, path string) relayed {
	t.Helper()
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return relayed{t, ln}
}

func (b relayed) accept() talker {
	b.t.Helper()
	_ = b.Listener.(*net.UnixListener).SetDeadline(time.Now().Add(evlooptest.Patience))
	c, err := b.Accept()
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(evlooptest.Patience))
	return talker{c, b.t}
}

// TestRestartOfAProxy: both connections of a client go on, with what waits in either
// direction, a direction that has ended stays so, and one that waits for its backend
// waits on. Two restarts in a row, on both back ends.
func TestRestartOfAProxy(t *testing.T) {
	for _, backend := range []string{"epoll", "auto"} {
		t.Run(backend, func(t *testing.T) { restartOfAProxy(t, backend) })
	}
}

func restartOfAProxy(t *testing.T, backend string) {
	dir := t.TempDir()
	cfg := parse(t, fmt.Sprintf(`
[loop]
backend = '%[2]s'
[service.p]
kind = 'proxy'
listen = ['%[1]s/p']
to = ['%[1]s/b']
[service.early]
kind = 'proxy'
listen = ['%[1]s/early']
to = ['%[1]s/late']
`, dir, backend))
	r, _ := runRestartable(t, cfg)
	b := relay(t, dir+"/b")
	pairs := [][2]talker{}
	for range 4 {
		c := talk(t, dir+"/p")
		pairs = append(pairs, [2]talker{c, b.accept()})
	}
	asks, stuck := pairs[1], pairs[2]
	asks[0].say("question")
	if err := asks[0].Conn.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	asks[1].hears("question")
	if n, err := asks[1].Read(make([]byte, 1)); n > 0 || err != io.EOF {
		t.Fatalf("the backend reads %d bytes, %v, want the end of the question", n, err)
	}
	payload := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	go stuck[1].Write(payload)
	r.until("a full queue", func() bool {
		for c := range r.loop.Conns() {
			if _, client := c.State.(*service.Session); client && c.Full() {
				return true
			}
		}
		return false
	})
	waits := talk(t, dir+"/early")
	waits.say("hello")
	r.until("a client that waits", func() bool { return r.endpoints["early"].conns == 1 })

	r, _ = r.restart(t, cfg)
	r, _ = r.restart(t, cfg)
	for i, p := range [][2]talker{pairs[0], pairs[3]} {
		for range 2 {
			p[0].say(fmt.Sprint("there ", i))
			p[1].hears(fmt.Sprint("there ", i))
			p[1].say(fmt.Sprint("and back ", i))
			p[0].hears(fmt.Sprint("and back ", i))
		}
	}
	asks[1].say("answer")
	asks[1].Close()
	asks[0].hears("answer")
	asks[0].hearsEnd()
	got := make([]byte, len(payload))
	if _, err := io.ReadFull(stuck[0], got); err != nil || !bytes.Equal(got, payload) {
		t.Errorf("what was queued: %v, equal %v", err, bytes.Equal(got, payload))
	}
	late := relay(t, dir+"/late")
	late.accept().hears("hello")
	pairs[0][1].Close()
	pairs[0][0].hearsEnd()
	r.until("two connections for each client that is left", func() bool { return r.beside == r.clients() && r.beside == 3 })
	r.stop(t)
}

// TestRestartWithoutAProxy: a client whose service is gone after a restart is finished,
// and so is its backend, which gets what was queued for it and the end.
func TestRestartWithoutAProxy(t *testing.T) {
	dir := t.TempDir()
	text := fmt.Sprintf("[service.e]\nkind = 'echo'\nlisten = ['%s/e']\n", dir)
	r, before := runRestartable(t, parse(t, text+fmt.Sprintf("[service.p]\nkind = 'proxy'\nlisten = ['%[1]s/p']\nto = ['%[1]s/b']\n", dir)))
	b := relay(t, dir+"/b")
	c := talk(t, dir+"/p")
	far := b.accept()
	payload := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	go c.Write(payload)
	var due uint64
	r.until("a full queue", func() bool {
		for c := range r.loop.Conns() {
			if _, beside := c.State.(service.Companion); beside && c.Full() {
				due = c.BytesOut() + uint64(c.Queued())
				return true
			}
		}
		return false
	})
	r, after := r.restart(t, parse(t, text))
	got, err := io.ReadAll(far)
	if err != nil || uint64(len(got)) < due || !bytes.HasPrefix(payload, got) {
		t.Errorf("the backend reads %d bytes, %v, want at least %d", len(got), err, due)
	}
	c.hearsEnd()
	r.stop(t)
	if !strings.Contains(before.String(), "conns=1 cut=0") || !strings.Contains(after.String(), "conns=0 cut=1") {
		t.Errorf("the log counts something else than one client:\n%s%s", before, after)
	}
}

// TestRestartKeepsLastBytes: what a client has sent and left behind reaches its backend over
// two restarts, on both back ends.
func TestRestartKeepsLastBytes(t *testing.T) {
	for _, backend := range []string{"epoll", "io_uring"} {
		t.Run(backend, func(t *testing.T) {
			dir := t.TempDir()
			cfg := parse(t, fmt.Sprintf("[loop]\nbackend='%[2]s'\n[service.p]\nkind='proxy'\nlisten=['%[1]s/p']\nto=['%[1]s/b']\n", dir, backend))
			r, _ := runRestartable(t, cfg)
			b := relay(t, dir+"/b")
			c := talk(t, dir+"/p")
			far := b.accept()
			payload := bytes.Repeat([]byte("0123456789abcdef"), 1<<11) // one read
			r.do(func() {
				// By itself the kernel would take it all.
				for c := range r.loop.Conns() {
					if _, beside := c.State.(service.Companion); beside {
						unix.SetsockoptInt(c.FD(), unix.SOL_SOCKET, unix.SO_SNDBUF, 4<<10)
					}
				}
			})
			c.say(string(payload))
			c.Close()
			r.until("the client has left, and bytes wait", func() bool {
				for c := range r.loop.Conns() {
					if c.Closing() && c.Queued() > 0 && r.clients() == 0 {
						return true
					}
				}
				return false
			})
			r, _ = r.restart(t, cfg)
			r, _ = r.restart(t, cfg)
			got, err := io.ReadAll(far)
			if !bytes.Equal(got, payload) || err != nil {
				t.Errorf("the backend reads %d bytes, %v, want all %d", len(got), err, len(payload))
			}
			far.Close()
			r.stop(t)
		})
	}
}

// TestPlacesOfAProxy: limits.connections counts clients. A proxy's backends take no
// places, and the files that they need are asked for.
func TestPlacesOfAProxy(t *testing.T) {
	dir := t.TempDir()
	cfg := parse(t, fmt.Sprintf("[limits]\nconnections = 3\n[service.p]\nkind = 'proxy'\nlisten = ['%[1]s/p']\nto = ['%[1]s/b']\n", dir))
	r := runDaemon(t, cfg)
	defer r.stop(t)
	b := relay(t, dir+"/b")
	var clients []talker
	for i := range 3 {
		c := talk(t, dir+"/p")
		s := b.accept()
		c.say(fmt.Sprint(i))
		s.hears(fmt.Sprint(i))
		clients = append(clients, c)
	}
	fourth := talk(t, dir+"/p")
	fourth.say("4")
	r.until("turns", func() bool { return r.clients() == 3 && r.beside == 3 })
	clients[0].Close()
	b.accept().hears("4")
}

// Where files are few, every second one is for a backend.
func TestClientsInFiles(t *testing.T) {
	proxy := "[service.p]\nkind = 'proxy'\nlisten = ['@p']\nto = ['@b']\n"
	tests := []struct {
		text        string
		files, want int
	}{
		{"[service.e]\nkind = 'echo'\nlisten = ['@p']\n", 100, 100},
		{proxy, 100, 50},
		{proxy, 99, 49}, // or a restart has a file too few
		{proxy, 2, 1},
		{proxy, 1, 1},
		{proxy + "max_connections = 10\n", 100, 90},
		{proxy + "max_connections = 90\n", 100, 50},
		{proxy, 10000, 4096},
	}
	for _, tt := range tests {
		cfg := parse(t, strings.ReplaceAll(tt.text, "@", "@"+t.Name()))
		if got := clientsIn(cfg, tt.files); got != tt.want {
			t.Errorf("%q: %d clients in %d files, want %d", tt.text, got, tt.files, tt.want)
		}
	}
}
