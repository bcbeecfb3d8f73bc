// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/evloop"
)

// A namer plays getent: a script that says which name it is asked for, and then does what
// the test says.
type namer struct {
	path  string
	asks  chan string // each question
	reply string      // FIFO
}

func playNames(t *testing.T) *namer {
	t.Helper()
	dir := t.TempDir()
	n := &namer{filepath.Join(dir, "getent"), make(chan string, 100), filepath.Join(dir, "reply")}
	asked := filepath.Join(dir, "asked")
	for _, fifo := range []string{asked, n.reply} {
		if err := unix.Mkfifo(fifo, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	script := "#!/bin/sh\necho \"$#$1 $2$HOME$PATH_INFO\" >" + asked + "\n. " + n.reply + "\n"
	if err := os.WriteFile(n.path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(asked, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s := bufio.NewScanner(f); s.Scan(); {
			n.asks <- s.Text()
		}
	}()
	t.Cleanup(func() { f.Close(); <-done })
	return n
}

// serves runs a proxy to the targets that asks the namer.
func (n *namer) serves(t *testing.T, keys string, targets ...string) *rig {
	t.Helper()
	return serve(t, to(keys, targets...), func(r *rig) { r.svc.(*proxy).getent = n.path })
}

// asked waits for a question.
func (n *namer) asked(t *testing.T, host string) {
	t.Helper()
	select {
	case got := <-n.asks:
		if want := "2ahosts " + host; got != want {
			t.Fatalf("asked %q, want %q", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("nobody asks for %q", host)
	}
}

// does waits for a question and has getent do what the script says.
func (n *namer) does(t *testing.T, host, script string) {
	t.Helper()
	n.asked(t, host)
	if err := os.WriteFile(n.reply, []byte(script+"\n"), 0); err != nil {
		t.Fatal(err)
	}
}

// says has getent print these addresses.
func (n *namer) says(t *testing.T, host string, addrs ...string) {
	t.Helper()
	script := ""
	for i, a := range addrs {
		script += fmt.Sprintf("echo '%-15s STREAM %s'; echo '%-15s DGRAM  '\n", a, host[:len(host)*(1-min(i, 1))], a)
	}
	n.does(t, host, script)
}

// named is the address of a backend by that name.
func named(host string, b *backend) string {
	return fmt.Sprintf("%s:%d", host, netip.MustParseAddrPort(b.addr()).Port())
}

// noLookup waits until no lookup is under way.
func (r *rig) noLookup() {
	r.t.Helper()
	r.until("no lookup", func() bool {
		for _, n := range r.svc.(*proxy).names {
			if n.question != nil {
				return false
			}
		}
		return true
	})
}

// expired has the last answer be from long ago.
func (r *rig) expired(host string) {
	r.t.Helper()
	r.do(func() { r.svc.(*proxy).name(host).asked = 1 })
}

// A name is asked for once for all clients, kept while it serves, and asked for again after
// a failure.
func TestProxyName(t *testing.T) {
	n, b := playNames(t), newBackend(t, "tcp")
	r := n.serves(t, "", named("app.example", b))
	c, second := r.client("tcp"), r.client("unix")
	say2(t, c, "x")
	n.says(t, "app.example", "127.0.0.1")
	say2(t, second, "x")
	for range 2 {
		wantBytes(t, b.accept(), "x")
	}
	third := r.client("tcp")
	say2(t, third, "y")
	s := b.accept()
	wantBytes(t, s, "y")
	r.noLookup()
	if len(n.asks) > 0 {
		t.Errorf("asked again for a name that serves")
	}
	r.expired("app.example")
	b.ln.Close()
	r.client("tcp")
	n.says(t, "app.example", "127.0.0.1", "127.0.0.2")
	r.log.wait(t, "backend does not answer address="+named("app.example", b), 1)
}

// The other addresses of a name are tried, and then the next target.
func TestProxyNameFallsBack(t *testing.T) {
	n, b, none := playNames(t), newBackend(t, "tcp"), newBackend(t, "tcp")
	none.ln.Close()
	r := n.serves(t, "", named("two.example", none), named("app.example", b))
	c := r.client("tcp")
	say2(t, c, "x")
	n.says(t, "two.example", "127.0.0.1", "127.0.0.2")
	n.says(t, "app.example", "0.0.0.0", "127.0.0.1")
	wantBytes(t, b.accept(), "x")
}

// A name without an address is a backend that does not answer, and the log says why: the
// client waits, and it is asked for again. A literal address behind it serves at once.
func TestProxyNameUnknown(t *testing.T) {
	tests := []struct{ name, script, says string }{
		{"unknown", "exit 2", "app.example: no address is known for this name"},
		{"nowhere", "echo '0.0.0.0 STREAM app.example'", "no address is known for this name"},
		{"silent", "exit 0", "no address is known for this name"},
		{"fails", "exit 3", "exit status 3"},
		{"not an address", "echo 'app.example STREAM 127.0.0.1'", "cannot read its answer"},
		{"more words", "echo '127.0.0.1 STREAM app example'", "cannot read its answer"},
		{"a long answer", "i=0; while [ $i -lt 1000 ]; do echo '127.0.0.1       STREAM app.example'; i=$((i+1)); done", "more than 16384 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, b := playNames(t), newBackend(t, "unix")
			r := n.serves(t, "", b.addr()+"none", "app.example:80")
			r.client("tcp")
			n.does(t, "app.example", tt.script)
			r.log.wait(t, "backend does not answer address=app.example:80 err=", 1)
			if r.log.count(tt.says) != 1 {
				t.Errorf("the log does not say %q", tt.says)
			}
			r.expired("app.example")
			n.does(t, "app.example", tt.script)

			r = n.serves(t, "", "app.example:80", b.addr())
			c := r.client("tcp")
			say2(t, c, "x")
			n.does(t, "app.example", tt.script)
			wantBytes(t, b.accept(), "x")
		})
	}
}

// Without getent the log says which program is missing.
func TestProxyNameWithoutGetent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "getent")
	r := serve(t, to("", "app.example:80"), func(r *rig) { r.svc.(*proxy).getent = path })
	r.client("tcp")
	r.log.wait(t, "look up app.example by "+path+": execve: no such file or directory", 1)
}

// The machine's own getent knows the names of hosts(5).
func TestProxyLocalhost(t *testing.T) {
	b := newBackend(t, "tcp")
	p := serve(t, to("", named("localhost", b)))
	if _, err := os.Stat(p.svc.(*proxy).getent); err != nil {
		t.Skip(err)
	}
	c := p.client("tcp")
	say2(t, c, "x")
	wantBytes(t, b.accept(), "x")
}

// A lookup that takes too long is given up and its program ended, and so it is if its
// client has left and the service ends, or a reload takes the name out.
func TestProxyNameLate(t *testing.T) {
	n, b := playNames(t), newBackend(t, "tcp")
	r := n.serves(t, "connect_timeout='50ms'", "late.example:80", b.addr())
	c := r.client("tcp")
	say2(t, c, "x")
	wantBytes(t, b.accept(), "x")
	r.noLookup() // the program may have ended before it could say that it was asked
	r.do(func() {
		if err := r.svc.(*proxy).name("late.example").err; err == nil || !strings.Contains(err.Error(), "no answer in time") {
			t.Errorf("the lookup ended with %v", err)
		}
	})

	n = playNames(t)
	r = n.serves(t, "connect_timeout='1h'", "gone.example:80")
	r.client("unix")
	n.asked(t, "gone.example")
	r.do(func() { r.svc.(*proxy).Adjust(parse(t, to("", "new.example:80"))) })
	n.asked(t, "new.example") // the same client goes on
	r.do(func() {
		for c := range r.loop.Conns() {
			c.Abort(nil)
		}
	})
	r.wantEnd(evloop.ErrAborted)
	r.do(func() { r.svc.(Stopper).Stop(func() {}) })
	r.until("only the listener of the loop is left", func() bool { return r.loop.Stats().Timers == 0 })
}

// A search that goes on with other targets begins with the first address of a name, however
// many of another one it has tried.
func TestProxyNameAfterReload(t *testing.T) {
	n, b := playNames(t), newBackend(t, "tcp")
	r := n.serves(t, "", "gone.example:80")
	c := r.client("unix")
	say2(t, c, "x")
	n.asked(t, "gone.example")
	r.do(func() {
		p := r.svc.(*proxy)
		var s *search
		for s = range p.name("gone.example").waiting {
		}
		p.Adjust(parse(t, to("", "/nowhere", named("known.example", b))))
		known := p.name("known.example")
		known.addrs, known.asked = []netip.Addr{netip.MustParseAddr("127.0.0.1")}, r.loop.Now()
		s.within = 1
	})
	wantBytes(t, b.accept(), "x")
	r.do(func() {
		if r.svc.(*proxy).name("known.example").failed {
			t.Error("the address of known.example was left out")
		}
	})
}

// What a process writes that the program has left behind is no answer, and does not keep
// the question open. It ends by SIGPIPE.
func TestProxyNameFromAnotherProcess(t *testing.T) {
	n := playNames(t)
	r := n.serves(t, "wait='0s'", "app.example:80")
	r.client("unix")
	begun := filepath.Join(t.TempDir(), "begun")
	if err := unix.Mkfifo(begun, 0o600); err != nil {
		t.Fatal(err)
	}
	n.does(t, "app.example", "setsid /bin/sh -c 'echo >"+begun+"; while echo 127.0.0.1 STREAM; do sleep 0.1; done' 2>/dev/null & read x <"+begun)
	r.wantEnd(ErrNoBackend)
	r.do(func() {
		if got := r.svc.(*proxy).name("app.example"); got.err == nil || len(got.addrs) > 0 {
			t.Errorf("%v is taken, %v", got.addrs, got.err)
		}
	})
}

// However many clients wait for a name, it is asked for once, and answered to a few in a
// turn.
func TestProxyNameForMany(t *testing.T) {
	n, b := playNames(t), newBackend(t, "tcp")
	r := n.serves(t, "", named("app.example", b))
	const clients = 100
	for range clients {
		r.client("unix")
	}
	p := r.svc.(*proxy)
	most, before := 0, uint64(0)
	var look func()
	look = func() {
		most = max(most, int(p.dials-before))
		if before = p.dials; before < clients {
			r.loop.Post(look)
		}
	}
	r.loop.Post(look)
	n.says(t, "app.example", "127.0.0.1")
	r.until("all have a backend", func() bool { return p.backends == clients })
	if len(n.asks) > 0 || most > 64 {
		t.Errorf("asked %d times more; %d attempts in a turn", len(n.asks), most)
	}
}
