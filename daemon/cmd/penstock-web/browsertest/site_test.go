// SPDX-License-Identifier: Apache-2.0

package browsertest

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

var (
	programs = flag.String("programs", "", "the folder of penstock and penstock-web")
	pictures = flag.String("screenshots", "", "the folder for pictures of the page; none: they are not taken")
)

// patience is how long a test waits for what has to come.
const patience = 60 * time.Second

// A site is both programs.
type site struct {
	url   string   // of the page
	lobby string   // the address of the room
	full  string   // the address of a service for one client
	busy  []string // of services that send by themselves
}

// port returns a free port of loopback. Nobody else is likely to take it meanwhile.
func port(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start runs a program until the end of the test, and waits for a line that holds word.
func start(t *testing.T, env, word, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(*programs, name), args...)
	cmd.Env = append(os.Environ(), env)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(out)
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		for said.Scan() { // or it could not end
		}
		_ = cmd.Wait()
	})
	for said.Scan() {
		if strings.Contains(said.Text(), word) {
			return
		}
	}
	t.Fatalf("%s has ended", name)
}

// serve starts the programs.
func serve(t *testing.T) site {
	t.Helper()
	if *programs == "" {
		t.Skip("make web-test runs this")
	}
	dir := t.TempDir()
	s := site{url: "http://" + port(t) + "/", lobby: port(t), full: port(t), busy: []string{port(t), port(t)}}
	text := fmt.Sprintf(`
[service.lobby]
kind = "room"
listen = [%q]
welcome = "welcome {peer}"
message = "{line}"
[service.printer]
kind = "echo"
listen = [%q]
max_connections = 1
[service.sensor]
kind = "bridge"
listen = [%q]
command = ["/bin/sh", "-c", "while :; do echo 19.4 C; sleep 0.2; done"]
history = 3
[service.weather]
kind = "lookup"
listen = [%q]
delimiter = "?"
answers = { "temp?" = "21.5 C\r\nrain\r\n" }
[service.clock]
kind = "ticker"
listen = [%q]
interval = "1s"
[web]
listen = [%q]
services = ["lobby", "sensor", "weather"]
`, s.lobby, s.full, s.busy[0], port(t), s.busy[1], strings.Trim(strings.TrimPrefix(s.url, "http:"), "/"))
	file := filepath.Join(dir, "penstock.toml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	env := "PENSTOCK_CONTROL=" + filepath.Join(dir, "control")
	start(t, env, "Stop with Ctrl-C", "penstock", "run", "-c", file)
	start(t, env, "http://", "penstock-web", "run", "-c", file)
	return s
}

// A tab is a page of the browser.
type tab struct {
	context.Context
	t *testing.T

	mu       sync.Mutex
	problems []string
}

// browse opens a tab of a size. At the end of the test it fails if anything was written
// to the console as an error, or asked of another host.
func (s site) browse(t *testing.T, width, height int64) *tab {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.WindowSize(int(width), int(height)))
	ctx, stop := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(stop)
	b := &tab{Context: ctx, t: t}
	problem := func(format string, args ...any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.problems = append(b.problems, fmt.Sprintf(format, args...))
	}
	b.do() // starts the browser
	err := chromedp.Listen(ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			problem("exception: %s", e.ExceptionDetails.Text)
		case *runtime.EventConsoleAPICalled:
			if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
				problem("console: %v", e.Args)
			}
		case *log.EventEntryAdded:
			if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
				problem("log: %s %s", e.Entry.Text, e.Entry.URL)
			}
		case *network.EventRequestWillBeSent:
			if !strings.HasPrefix(e.Request.URL, s.url) {
				problem("a request for %s", e.Request.URL)
			}
		case *network.EventWebSocketCreated:
			if !strings.HasPrefix(e.URL, strings.Replace(s.url, "http", "ws", 1)) {
				problem("a WebSocket to %s", e.URL)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, p := range b.problems {
			t.Error(p)
		}
	})
	call(b, network.Enable, network.EnableParams{})
	call(b, log.Enable, cdp.Empty{})
	call(b, runtime.Enable, cdp.Empty{})
	b.do(chromedp.EmulateViewport(width, height))
	return b
}

// do has the browser do something.
func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// call sends the browser a command of its protocol.
func call[P, R any](b *tab, command cdp.Command[P, R], params P) {
	b.t.Helper()
	if _, err := chromedp.Call(b, command, params); err != nil {
		b.t.Fatal(err)
	}
}

// until waits until an expression is true on the page.
func (b *tab) until(expression string) {
	b.t.Helper()
	if _, err := chromedp.Run(b, chromedp.Poll[bool](expression, chromedp.WithPollingTimeout(patience))); err != nil {
		body, _ := chromedp.Run(b, chromedp.Text(chromedp.CSS("body")))
		b.t.Fatalf("%s: %v\nthe page is\n%s", expression, err, body)
	}
}

// eval returns the value of an expression on the page.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// picture keeps what the tab shows.
func (b *tab) picture(name string) {
	b.t.Helper()
	if *pictures == "" {
		return
	}
	png, err := chromedp.Run(b, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*pictures, name), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// A guest is a client of a service by its port.
type guest struct {
	net.Conn
	t   *testing.T
	all strings.Builder
}

func visit(t *testing.T, address string) *guest {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &guest{Conn: c, t: t}
}

// until reads until word has come.
func (g *guest) until(word string) {
	g.t.Helper()
	if err := g.SetReadDeadline(time.Now().Add(patience)); err != nil {
		g.t.Fatal(err)
	}
	buf := make([]byte, 1024)
	for !strings.Contains(g.all.String(), word) {
		n, err := g.Read(buf)
		if err != nil {
			g.t.Fatalf("%v before %q, after %q", err, word, g.all.String())
		}
		g.all.Write(buf[:n])
	}
}

// leave breaks off: a client that only ends its output still listens.
func (g *guest) leave() {
	g.t.Helper()
	if err := g.Conn.(*net.TCPConn).SetLinger(0); err != nil {
		g.t.Fatal(err)
	}
	_ = g.Close()
}
