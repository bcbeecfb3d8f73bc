// SPDX-License-Identifier: Apache-2.0

package brokertest

import (
	"bufio"
	"flag"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var programs = flag.String("programs", "", "the folder of penstock and penstock-mqtt; without it the tests are skipped")

// patience is how long a test waits for what must happen.
const patience = time.Minute

// A program is one that runs, and the lines that it has written.
type program struct {
	*exec.Cmd
	end func()

	mu    sync.Mutex
	lines []string
	more  chan struct{} // closed at the next line
}

// start runs a program until the test ends.
func start(t *testing.T, env []string, name string, args ...string) *program {
	t.Helper()
	p := &program{Cmd: exec.Command(name, args...), more: make(chan struct{})}
	p.Env = append(os.Environ(), env...)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.Stdout, p.Stderr = w, w
	err = p.Start()
	_ = w.Close()
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		s := bufio.NewScanner(r)
		s.Buffer(nil, 1<<20)
		for s.Scan() {
			p.mu.Lock()
			p.lines = append(p.lines, s.Text())
			close(p.more)
			p.more = make(chan struct{})
			p.mu.Unlock()
		}
		_ = r.Close()
	}()
	p.end = sync.OnceFunc(func() {
		_ = p.Process.Signal(unix.SIGCONT)
		_ = p.Process.Signal(unix.SIGTERM)
		_ = p.Wait()
		<-read
	})
	t.Cleanup(func() {
		p.end()
		if t.Failed() {
			t.Logf("%s:\n%s", strings.Join(p.Args, " "), strings.Join(p.lines, "\n"))
		}
	})
	return p
}

// kill ends a program as a crash does.
func (p *program) kill() {
	_ = p.Process.Kill()
	p.end()
}

// all returns the lines so far, and what is closed at the next one.
func (p *program) all() ([]string, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lines, p.more
}

// count returns how many lines hold a text.
func (p *program) count(text string) (n int) {
	lines, _ := p.all()
	for _, l := range lines {
		if strings.Contains(l, text) {
			n++
		}
	}
	return n
}

// await waits for a number of lines that hold a text.
func (p *program) await(t *testing.T, n int, text string) {
	t.Helper()
	limit := time.After(patience)
	for {
		_, more := p.all()
		if p.count(text) >= n {
			return
		}
		select {
		case <-more:
		case <-limit:
			t.Fatalf("waited in vain for %d × %q, there are %d", n, text, p.count(text))
		}
	}
}

// A house is a broker and boards.
type house struct {
	folder string
	extra  string // of mosquitto's configuration
	broker *program
}

func newHouse(t *testing.T) *house {
	t.Helper()
	if *programs == "" {
		t.Skip("run by make mqtt-test")
	}
	folder, err := os.MkdirTemp("", "m") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	if err := os.Chmod(folder, 0o755); err != nil { // mosquitto drops its rights
		t.Fatal(err)
	}
	return &house{folder: folder, extra: "allow_anonymous true\n"}
}

func (h *house) socket() string { return filepath.Join(h.folder, "mqtt") }

// serve starts the broker, and waits until it listens.
func (h *house) serve(t *testing.T) {
	t.Helper()
	_ = os.Remove(h.socket())
	file := filepath.Join(h.folder, "mosquitto.conf")
	text := "user root\nlistener 0 " + h.socket() + "\nlog_type all\n" + h.extra
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	h.broker = start(t, nil, "mosquitto", "-c", file)
	listens(t, h.socket())
}

// listens waits until somebody listens at a path.
func listens(t *testing.T, path string) {
	t.Helper()
	for limit := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("unix", path)
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(limit) {
			t.Fatal(err)
		}
	}
}

// sub starts mosquitto_sub, and waits until it gets what is published.
func (h *house) sub(t *testing.T, topics ...string) *program {
	t.Helper()
	args := []string{"--unix", h.socket(), "-V", "5", "-v", "-q", "1", "-t", "sync"}
	for _, topic := range topics {
		args = append(args, "-t", topic)
	}
	p := start(t, nil, "mosquitto_sub", args...)
	for limit := time.Now().Add(patience); p.count("sync") == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("mosquitto_sub gets nothing")
		}
		h.pub(t, "sync", "-m", "x")
	}
	return p
}

// pub publishes a message with mosquitto_pub.
func (h *house) pub(t *testing.T, topic string, args ...string) {
	t.Helper()
	args = append([]string{"--unix", h.socket(), "-V", "5", "-q", "1", "-t", topic}, args...)
	if out, err := exec.Command("mosquitto_pub", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// A board is a daemon and its companion.
type board struct {
	name, folder string
	env          []string
	daemon, mqtt *program
}

// board starts one. Its services are in text, with listen = ["FOLDER/NAME.sock"].
func (h *house) board(t *testing.T, name, table, text string) *board {
	t.Helper()
	b := &board{name: name, folder: filepath.Join(h.folder, name)}
	if err := os.MkdirAll(filepath.Join(b.folder, "penstock"), 0o700); err != nil {
		t.Fatal(err)
	}
	text = "[mqtt]\nbroker = 'unix:" + h.socket() + "'\nboard = '" + name + "'\n" + table + strings.ReplaceAll(text, "FOLDER", b.folder)
	if err := os.WriteFile(b.file(), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	b.env = []string{"XDG_RUNTIME_DIR=" + b.folder, "NOTIFY_SOCKET="}
	b.daemon = start(t, b.env, filepath.Join(*programs, "penstock"), "run", "-c", b.file())
	b.daemon.await(t, 1, "daemon ready")
	b.join(t)
	return b
}

func (b *board) file() string { return filepath.Join(b.folder, "penstock.toml") }

// join starts the companion.
func (b *board) join(t *testing.T) {
	t.Helper()
	b.mqtt = start(t, b.env, filepath.Join(*programs, "penstock-mqtt"), "run", "-c", b.file(), "-state", filepath.Join(b.folder, "state"))
}

// shows waits until "penstock status" says something.
func (b *board) shows(t *testing.T, text string) {
	t.Helper()
	for limit := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		cmd := exec.Command(filepath.Join(*programs, "penstock"), "status")
		cmd.Env = append(os.Environ(), b.env...)
		out, err := cmd.CombinedOutput()
		if err == nil && strings.Contains(string(out), text) {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("waited in vain for %q: %v\n%s", text, err, out)
		}
	}
}

// A client is one of a service.
type client struct {
	net.Conn
	in *bufio.Scanner
}

func (b *board) client(t *testing.T, service string) *client {
	t.Helper()
	c, err := net.Dial("unix", filepath.Join(b.folder, service+".sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &client{c, bufio.NewScanner(c)}
}

func (c *client) say(t *testing.T, line string) {
	t.Helper()
	if _, err := c.Write([]byte(line + "\n")); err != nil {
		t.Fatal(err)
	}
}

// hear reads until a line holds a text, and returns the lines before.
func (c *client) hear(t *testing.T, text string) (before []string) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	for c.in.Scan() {
		if strings.Contains(c.in.Text(), text) {
			return before
		}
		before = append(before, c.in.Text())
	}
	t.Fatalf("waited in vain for %q: %v, behind %q", text, c.in.Err(), before)
	return nil
}
