// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/service"
	"penstock/evloop/evlooptest"
)

// runRestartable is runDaemon for one that may be handed over.
func runRestartable(t *testing.T, cfg *config.Config, queues ...int) (*running, *bytes.Buffer) {
	t.Helper()
	ready, out := make(chan struct{}), new(bytes.Buffer) // out is the loop's until the end
	d, err := New(cfg, Env{
		Log: slog.New(slog.NewTextHandler(out, nil)), Ready: func() { close(ready) },
		Queues: queues, MayExec: func() error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, d)
	<-ready
	return r, out
}

// restart has another daemon, with cfg, go on with the connections of r.
func (r *running) restart(t *testing.T, cfg *config.Config) (*running, *bytes.Buffer) {
	t.Helper()
	return runRestartable(t, cfg, r.leave(t))
}

// leave hands the connections of r over and returns the queue.
func (r *running) leave(t *testing.T) int {
	t.Helper()
	r.do(func() { r.handOverBy(unix.SIGUSR2) })
	return r.left(t)
}

// left returns the queue of r when that has handed over.
func (r *running) left(t *testing.T) int {
	t.Helper()
	if err := <-r.done; !errors.Is(err, ErrHandedOver) {
		t.Fatalf("Run = %v, want that all was handed over", err)
	}
	return r.end()
}

// end does what the process does when it becomes the next one, and returns the queue.
func (r *running) end() int {
	r.handing.parcel.closeLeft()
	r.LastStop()
	q := r.Queue()
	r.handing.queue.Close()
	return q
}

// closeLeft closes what a process leaves to its end: clients, and what services hold. Its
// listeners it has closed already, and their numbers may be another's.
func (p *parcel) closeLeft() { closeFDs(p.fds[:p.held]) }

// A talker is a client of which each step is checked.
type talker struct {
	net.Conn
	t testing.TB
}

func talk(t testing.TB, path string) talker {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(evlooptest.Patience)); err != nil {
		t.Fatal(err)
	}
	return talker{c, t}
}

func (c talker) say(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

func (c talker) hears(want string) {
	c.t.Helper()
	b := make([]byte, len(want))
	if n, err := io.ReadFull(c, b); err != nil || string(b) != want {
		c.t.Fatalf("heard %q, %v, want %q", b[:n], err, want)
	}
}

// hearsEnd wants nothing more.
func (c talker) hearsEnd() {
	c.t.Helper()
	defer c.Close()
	if b, err := io.ReadAll(c); len(b) > 0 || err != nil && !errors.Is(err, unix.ECONNRESET) {
		c.t.Errorf("heard %q, %v, want the end", b, err)
	}
}

// taken waits until the daemon has so many bytes of the client of the service.
func (r *running) taken(name string, n int) {
	r.t.Helper()
	r.until("input of "+name, func() bool {
		for c := range r.loop.Conns() {
			if s, ok := c.State.(*service.Session); ok && endpointOf(s).conf.Name == name && c.BytesIn() == uint64(n) {
				return true
			}
		}
		return false
	})
}

// TestRestartCarries: what each kind knows of its clients goes on, two restarts in a
// row, on both back ends.
func TestRestartCarries(t *testing.T) {
	for _, backend := range []string{"epoll", "auto"} {
		t.Run(backend, func(t *testing.T) { restartCarries(t, backend) })
	}
}

func restartCarries(t *testing.T, backend string) {
	dir := t.TempDir()
	at := func(name string) string { return dir + "/" + name }
	text := fmt.Sprintf("[loop]\nbackend = %q\n", backend)
	for name, keys := range map[string]string{
		"room":    "kind = 'room'\nwelcome = 'hello'\nhistory = 2",
		"chat":    "kind = 'room'\npreset = 'select-chat'\nwelcome = 'in'\njoin = ''\nleave = ''",
		"lookup":  "kind = 'lookup'\nanswers = { q = 'a' }",
		"echo":    "kind = 'echo'",
		"ticker":  "kind = 'ticker'\ninterval = '1h'",
		"chargen": "kind = 'chargen'",
	} {
		text += fmt.Sprintf("[service.%s]\nlisten = ['%s']\n%s\n", name, at(name), keys)
	}
	cfg := parse(t, text)
	r, _ := runRestartable(t, cfg)

	anna, other := talk(t, at("room")), talk(t, at("room"))
	anna.hears("hello\n")
	other.hears("hello\n")
	anna.say("/nick ann\n/nick anna\nfirst\n")
	for line := ""; !strings.HasSuffix(line, "* ann is now anna\n"); {
		b := make([]byte, 1)
		if _, err := other.Read(b); err != nil {
			t.Fatal(err)
		}
		line += string(b)
	}
	other.hears("anna: first\n")
	half := talk(t, at("chat"))
	asks := talk(t, at("lookup"))
	asks.say("q\n q")
	asks.hears("a")
	ticks := talk(t, at("ticker"))
	ticks.say("PI")
	r.taken("ticker", 2)
	gen := talk(t, at("chargen"))
	stuck := talk(t, at("echo"))
	payload := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	go stuck.Write(payload)
	r.until("a full queue", func() bool {
		for c := range r.loop.Conns() {
			if s, ok := c.State.(*service.Session); ok && endpointOf(s).conf.Name == "echo" && c.Full() {
				return true
			}
		}
		return false
	})
	newest := func() (id uint64) {
		r.do(func() { id = r.lastID })
		return id
	}
	last := newest()
	r, _ = r.restart(t, cfg)
	r, _ = r.restart(t, cfg)
	if got := newest(); got != last {
		t.Errorf("the newest connection has number %d, had %d before", got, last)
	}
	half.say("NAME: bob\n")
	half.hears("in\n")
	asks.say("\n")
	asks.hears("a")
	ticks.say("NG\n")
	ticks.hears("+PONG\r\n")
	anna.say("second\n")
	other.hears("anna: second\n")
	newcomer := talk(t, at("room"))
	newcomer.hears("hello\nanna: first\nanna: second\n")
	newcomer.say("/nick anna\n")
	newcomer.hears("ERR nick in use\n")
	got := make([]byte, len(payload))
	if _, err := io.ReadFull(stuck, got); err != nil || !bytes.Equal(got, payload) {
		t.Errorf("echo of what was queued: %v, equal %v", err, bytes.Equal(got, payload))
	}
	want := make([]byte, 1<<20)
	for i := range want {
		line, column := i/74%95, i%74
		switch column {
		case 72:
			want[i] = '\r'
		case 73:
			want[i] = '\n'
		default:
			want[i] = byte(' ' + (line+column)%95)
		}
	}
	got = make([]byte, len(want))
	if _, err := io.ReadFull(gen, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("chargen over the restart: %v, equal %v", err, bytes.Equal(got, want))
	}
	gen.Close()
	r.stop(t)
}

// TestRestartOfAHandler: the program answers what it has got, or its clients are told
// that it has not. What it has not got goes to the next one.
func TestRestartOfAHandler(t *testing.T) {
	path := t.TempDir() + "/s"
	cfg := parse(t, fmt.Sprintf("[service.h]\nkind = 'handler'\nlisten = ['%s']\nerror = 'sorry'\ndrain_timeout = '1h'\ncommand = ['/bin/sh', '-c', %s]\n", path, `'''
while IFS= read -r m; do
	c=${m#*'"conn":'}; c=${c%%,*}
	case $m in
	*late*) late=$c ;;
	*never*) ;;
	*) printf '{"conn":%s,"data":"yes"}\n' "$c" ;;
	esac
done
[ -z "$late" ] || printf '{"conn":%s,"data":"late"}\n' "$late" # it was asked to end
'''`))
	r, _ := runRestartable(t, cfg)
	late, never, idle := talk(t, path), talk(t, path), talk(t, path)
	idle.say("x\n")
	idle.hears("yes")
	never.say("never\n")
	r.taken("h", len("never\n"))
	late.say("late\n")
	r.taken("h", len("late\n"))
	r, _ = r.restart(t, cfg)
	late.hears("late")
	never.hears("sorry")
	for _, c := range []talker{late, never, idle} {
		c.say("y\n")
		c.hears("yes")
	}
	r.stop(t)
}

// TestRestartWaitsForEveryProgram: one that never started, and a service without clients
// that does not want to be carried, end at once. The restart waits for the others.
func TestRestartWaitsForEveryProgram(t *testing.T) {
	dir := t.TempDir()
	cfg := parse(t, fmt.Sprintf(`
[service.a]
kind = 'handler'
listen = ['%[1]s/a']
command = ['/nonexistent']
[service.b]
kind = 'echo'
listen = ['%[1]s/b']
persist = 'off'
[service.c]
kind = 'handler'
listen = ['%[1]s/c']
command = ['/bin/sh', '-c', 'read -r m; c=${m#*"conn\":"}; sleep 0.2; c=${m#*:}; c=${c%%%%,*}; echo "{\"conn\":$c,\"data\":\"yes\"}"']
`, dir))
	r, _ := runRestartable(t, cfg)
	c := talk(t, dir+"/c")
	c.say("x\n")
	r.taken("c", 2)
	r.until("the message is with the program", func() bool {
		return r.endpoints["a"] != nil
	})
	r, _ = r.restart(t, cfg)
	c.hears("yes")
	r.stop(t)
}

// TestRestartWithAnotherFile: connections whose service does not go on are closed, with
// the reason in the log, and all others are served, however low the limits are now.
func TestRestartWithAnotherFile(t *testing.T) {
	dir := t.TempDir()
	service := func(name, keys string) string {
		return fmt.Sprintf("[service.%s]\nlisten = ['%s/%s']\n%s\n", name, dir, name, keys)
	}
	r, _ := runRestartable(t, parse(t, service("gone", "kind = 'echo'")+service("other", "kind = 'echo'")+
		service("cut", "kind = 'lookup'\nanswers = {a = 'b'}")+service("off", "kind = 'echo'\npersist = 'off'")+
		service("late", "kind = 'echo'")+service("stays", "kind = 'echo'")))
	clients := map[string]talker{}
	for _, name := range []string{"gone", "other", "off", "late", "stays"} {
		clients[name] = talk(t, dir+"/"+name)
		clients[name].say("x")
		clients[name].hears("x")
	}
	clients["cut"] = talk(t, dir+"/cut")
	clients["cut"].say("a\na")
	clients["cut"].hears("b")
	second := talk(t, dir+"/stays")
	second.say("x")
	second.hears("x")
	r, out := r.restart(t, parse(t, "[limits]\nconnections = 1\n"+service("other", "kind = 'discard'")+
		service("cut", "kind = 'lookup'\nanswers = {a = 'b'}\ndelimiter = '?'")+service("off", "kind = 'echo'")+
		service("late", "kind = 'echo'\npersist = 'off'")+service("stays", "kind = 'echo'\nmax_connections = 1")))
	for _, name := range []string{"gone", "other", "cut", "off"} {
		clients[name].hearsEnd()
	}
	for _, c := range []talker{clients["stays"], second, clients["late"]} { // what the next restart ends is late's own affair
		c.say("y")
		c.hears("y")
		c.Close()
	}
	r.stop(t)
	for name, why := range map[string]string{"gone": "no such service", "other": "another kind", "cut": "delimiter"} {
		found := false
		for line := range strings.Lines(out.String()) {
			found = found || strings.Contains(line, "service="+name) && strings.Contains(line, why)
		}
		if !found {
			t.Errorf("the log does not say that clients of %s were closed because of %q:\n%s", name, why, out)
		}
	}
}

// TestRestartWithDamagedRecords: nobody is served by what cannot be read, and the
// daemon is up.
func TestRestartWithDamagedRecords(t *testing.T) {
	path := t.TempDir() + "/s"
	cfg := parse(t, fmt.Sprintf("[service.e]\nkind = 'echo'\nlisten = ['%s']\n", path))
	r, _ := runRestartable(t, cfg)
	c := talk(t, path)
	c.say("x")
	c.hears("x")
	queue := r.leave(t)
	if err := os.Remove(path); err != nil { // the listener's record is unreadable as well
		t.Fatal(err)
	}
	before := oldestRead
	oldestRead = recordVersion + 1
	defer func() { oldestRead = before }()
	r, out := runRestartable(t, cfg, queue)
	c.hearsEnd()
	if got, err := ask(path, "new"); got != "new" || err != nil {
		t.Errorf("a new client heard %q, %v", got, err)
	}
	r.stop(t)
	if !strings.Contains(out.String(), "connections not taken over") {
		t.Errorf("the log does not say why:\n%s", out)
	}
}

// TestRestartThatNobodyKeeps: without a store the connections are finished as at a
// stop, and nothing is lost.
func TestRestartThatNobodyKeeps(t *testing.T) {
	path := t.TempDir() + "/s"
	cfg := parse(t, fmt.Sprintf("[service.e]\nkind = 'echo'\nlisten = ['%s']\n"+
		"[service.h]\nkind = 'handler'\nlisten = ['%s.h']\ncommand = ['/bin/cat']\n", path, path))
	r, out := runRestartable(t, cfg)
	c := talk(t, path)
	c.say("x")
	c.hears("x")
	began := time.Now()
	r.do(func() {
		r.env.Managed = true // and its Notifier is nil, which keeps nothing
		r.handOverBy(unix.SIGINT)
	})
	c.hearsEnd()
	if err := <-r.done; !errors.Is(err, ErrNotHandedOver) {
		t.Errorf("Run = %v, want that another process is expected", err)
	}
	if took := time.Since(began); took > drainGrace {
		t.Errorf("the end took %v, although nothing was left to wait for", took)
	}
	if !strings.Contains(out.String(), "connections not handed over") {
		t.Errorf("the log does not say why:\n%s", out)
	}
}
