// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/process"
	"penstock/daemon/internal/report"
	"penstock/evloop"
)

// testProgram says back what it is told, and does as it is told.
func testProgram() {
	out := json.NewEncoder(os.Stdout)
	say := func(conn any, data string) { out.Encode(map[string]any{"conn": conn, "data": data}) }
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var ev struct {
			Conn        uint64
			Event, Data string
			Base64      []byte
		}
		if err := json.Unmarshal(in.Bytes(), &ev); err != nil {
			fmt.Fprintln(os.Stderr, "not JSON:", err)
			os.Exit(1)
		}
		if ev.Event != eventMessage {
			fmt.Fprintln(os.Stderr, ev.Event, ev.Conn)
			continue
		}
		word, arg, _ := strings.Cut(ev.Data, " ")
		switch word {
		case "crash":
			os.Exit(3)
		case "mute": // closes its output and lives on
			os.Stdout.Close()
		case "deaf":
			os.Stdin.Close()
			for {
				time.Sleep(time.Hour)
			}
		case "stop": // reading, until a signal ends it
			for {
				time.Sleep(time.Hour)
			}
		case "hold": // the reply
		case "all":
			out.Encode(map[string]any{"data": arg})
		case "flood":
			n, _ := strconv.Atoi(arg)
			os.Stdout.WriteString(strings.Repeat("{\"data\":\"x\"}\n", n)) // at once
		case "close":
			out.Encode(map[string]any{"conn": ev.Conn, "data": "bye", "close": true})
		case "raw":
			fmt.Println(arg)
		case "stderr":
			fmt.Fprint(os.Stderr, strings.ReplaceAll(arg, "|", "\n"))
			say(ev.Conn, "ok")
		case "big":
			n, _ := strconv.Atoi(arg)
			say(ev.Conn, strings.Repeat("x", n))
		case "cwd":
			wd, _ := os.Getwd()
			say(ev.Conn, wd)
		case "env":
			say(ev.Conn, os.Getenv(arg))
		default:
			if ev.Base64 != nil {
				out.Encode(map[string]any{"conn": ev.Conn, "base64": ev.Base64})
			} else {
				say(ev.Conn, ev.Data)
			}
		}
	}
}

// serveProgram runs a handler with the test program.
func serveProgram(t *testing.T, keys string) *rig {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, handlerKeys(exe)+keys, hurry)
}

// handlerKeys are those of a handler with the test program, which is exe.
func handlerKeys(exe string) string {
	command, _ := json.Marshal([]string{exe, "program"})
	return "kind=\"handler\"\ncommand=" + string(command) + "\n"
}

// hurry shortens the waits of a program's life.
func hurry(r *rig) { r.svc.(*handler).program.Times = quickly }

var quickly = process.Times{
	First: 10 * time.Millisecond, Most: 40 * time.Millisecond, Stable: time.Hour,
	HangUp: 50 * time.Millisecond, Rest: patience, // a busy machine may take its time to read the last words
}

// Those who wait are told once, everybody stays, and the next program serves.
func TestHandlerCrash(t *testing.T) {
	r := serveProgram(t, "error=\"sorry\\n\"")
	idle, waiting, asking := r.dial(), r.dial(), r.dial()
	waiting.send("hold\nhold\n")
	idle.send("x\n")
	idle.want("x") // so the others' messages have arrived, too
	asking.send("crash\n")
	asking.want("sorry\n")
	waiting.want("sorry\n")
	r.log.wait(t, "program ended status=exit status 3 unanswered=3", 1)
	r.wantLost(report.LostUnanswered, 3)
	for _, c := range []*testClient{idle, waiting, asking} {
		c.send("again\n")
		c.want("again") // and no second "sorry"
	}
}

// A half-closed client is closed with the error instead of its reply.
func TestHandlerCrashAfterEOF(t *testing.T) {
	r := serveProgram(t, "error=\"sorry\\n\"")
	c := r.dial()
	c.send("crash\n")
	c.shut()
	if got := c.rest(); got != "sorry\n" {
		t.Errorf("got %q", got)
	}
	r.wantEnd(ErrUnanswered)
}

// A program that cannot be started is tried again like one that ends at once, and the
// status names it until one is.
func TestHandlerBackOff(t *testing.T) {
	r := serve(t, "kind=\"handler\"\ncommand=[\"/nonexistent/program\"]", hurry)
	r.log.wait(t, "program not started command=/nonexistent/program err=execve: no such file or directory", 4)
	r.until("a program that is named", r.unstarted)
	r.do(func() { r.svc.(Adjuster).Adjust(parse(t, "kind=\"handler\"\ncommand=[\"/bin/cat\"]")) })
	r.until("a program that runs", func() bool { return !r.unstarted() })
	r.do(func() {
		if r.changes != 2 {
			t.Errorf("the status has changed %d times, want 2", r.changes)
		}
	})
}

// A program that stops reading pauses the clients, not the loop; nothing is
// lost when it goes on.
func TestHandlerProgramStopsReading(t *testing.T) {
	gate := filepath.Join(t.TempDir(), "gate")
	if err := unix.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	script := "read x <" + gate + "; exec cat"
	r := serve(t, fmt.Sprintf("kind=\"handler\"\nevents=true\nqueue=\"1MiB\"\ncommand=[\"/bin/sh\",\"-c\",%q]", script), hurry)
	a, b := r.dial(), r.dial()
	const lines = 200 // of 4000 bytes: more than two queues and a pipe
	line := strings.Repeat("x", 4000) + "\n"
	for _, c := range []*testClient{a, b} {
		go func() {
			for range lines {
				if _, err := c.conn.Write([]byte(line)); err != nil {
					return
				}
			}
			c.conn.CloseWrite()
		}()
	}
	paused := func() (n int) {
		r.do(func() {
			for _, c := range r.svc.(*handler).clients {
				if clientOf(c).blocked {
					n++
				}
			}
			if q := r.loop.Stats().Queued; q > 512<<10 {
				t.Errorf("%d bytes queued", q)
			}
		})
		return n
	}
	for began := time.Now(); paused() < 2; {
		if time.Since(began) > patience {
			t.Fatal("the clients are not paused")
		}
	}
	for range 100 { // clients that come and go meanwhile are not told of
		c := r.dial()
		c.conn.Close()
		r.wantEnd(nil)
	}
	if err := os.WriteFile(gate, []byte("go\n"), 0); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*testClient{a, b} {
		if got := c.rest(); got != strings.Repeat(line[:4000], lines) {
			t.Errorf("%d bytes came back, want %d", len(got), lines*4000)
		}
	}
}

// The bound over all clients is paid by clients. The pipe to their program may
// be the longest queue, and is what all of them wait for.
func TestHandlerProgramOutlivesShortMemory(t *testing.T) {
	gate := filepath.Join(t.TempDir(), "gate")
	if err := unix.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	r := serve(t, fmt.Sprintf("kind=\"handler\"\ncommand=[\"/bin/sh\",\"-c\",%q]", "read x <"+gate+"; exec cat"), hurry)
	greedy, modest := r.dial(), r.dial()
	go func() {
		for err := error(nil); err == nil; {
			_, err = greedy.conn.Write([]byte(strings.Repeat("x", 4000) + "\n"))
		}
	}()
	r.until("the pause of the program", func() bool { p := r.svc.(*handler).program; return p.Running() && !p.Ready() })
	r.do(func() { r.loop.SetLimits(0, 32<<10) })
	r.wantEnd(evloop.ErrMemory)
	r.do(func() { r.loop.SetLimits(0, 64<<20) })
	if err := os.WriteFile(gate, []byte("go\n"), 0); err != nil {
		t.Fatal(err)
	}
	modest.send("still there?\n")
	modest.want("still there?")
	if n := r.log.count("program ended"); n > 0 {
		t.Error("the program paid")
	}
}

// Clients wait for a program that does not run, but not for ever: nobody would
// see that they have left.
func TestHandlerProgramNeverStarts(t *testing.T) {
	r := serve(t, "kind=\"handler\"\ncommand=[\"/nonexistent\"]", hurry, func(r *rig) {
		r.opts.IdleTimeout = 300 * time.Millisecond
	})
	gone, waiting := r.dialWith("x\n"), r.dialWith("x\n")
	gone.conn.Close()
	for range 2 {
		r.wantEnd(ErrNotTaken)
	}
	waiting.wantEOF()
}

func TestHandlerStderr(t *testing.T) {
	r := serveProgram(t, "")
	c := r.dial()
	c.send("stderr one|zwei \x1b ü|" + strings.Repeat("y", 2000) + "|\n")
	c.want("ok")
	r.log.wait(t, "program wrote text=one", 1)
	r.log.wait(t, "program wrote text=zwei ? ü", 1)
	r.log.wait(t, "program wrote text="+strings.Repeat("y", 256)+"...", 1)
}

// Why a program died is what it said last, be it long and without an end.
func TestHandlerLastWords(t *testing.T) {
	r := serveProgram(t, "max_line=\"60KiB\"")
	c := r.dial()
	const lines = 120
	c.send("stderr " + strings.Repeat(strings.Repeat("y", 400)+"|", lines) + "no device\ncrash\n")
	r.log.wait(t, "program ended", 1)
	if got := r.log.count("program wrote text=yyy"); got != lines {
		t.Errorf("%d lines, want %d", got, lines)
	}
	if got := r.log.count("program wrote text=no device"); got != 1 {
		t.Errorf("%d records of the last line, want 1", got)
	}
}

// What a program says without an end is not lost in silence when it is too long.
func TestHandlerLastWordsTooLong(t *testing.T) {
	const say = `head -c 2000000 /dev/zero | tr "\\0" y | tee /dev/stderr`
	r := serve(t, "kind=\"handler\"\ncommand=[\"/bin/sh\",\"-c\",'''"+say+"''']", hurry)
	r.log.wait(t, "program output dropped err=line too long bytes=2000000", 1)
	r.log.wait(t, "program wrote text="+strings.Repeat("y", 256)+"...", 1)
}

// The program must not be able to speak for the daemon.
func TestHandlerEnvironment(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "/run/notify")
	t.Setenv("LISTEN_FDS", "3")
	t.Setenv("KEPT", "yes")
	c := serveProgram(t, "").dial()
	c.send("env NOTIFY_SOCKET\nenv LISTEN_FDS\nenv KEPT\n")
	c.want("yes")
}

// The program has the variables of the file in place of the daemon's, and starts in the
// folder of the file. A reload that changes one of them starts another program.
func TestHandlerSurroundings(t *testing.T) {
	t.Setenv("KEPT", "yes")
	t.Setenv("CHANGED", "no")
	dir := t.TempDir()
	r := serveProgram(t, "env={CHANGED=\"a=b\",NEW=\"\"}\ndirectory=\""+dir+"\"\n")
	c := r.dial()
	c.send("env KEPT\nenv CHANGED\ncwd\n")
	c.want("yesa=b" + dir)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, keys := range []string{"env={CHANGED=\"c\"}\ndirectory=\"/\"", "env={CHANGED=\"d\"}\ndirectory=\"/\""} {
		r.do(func() { r.svc.(Adjuster).Adjust(parse(t, handlerKeys(exe)+keys)) })
		c.send("env CHANGED\ncwd\n")
		c.want(keys[14:15] + "/")
	}
	r.do(func() { r.svc.(Adjuster).Adjust(parse(t, handlerKeys(exe)+"directory=\"/no such folder\"")) })
	r.log.wait(t, "err=chdir: no such file or directory", 1)
}

// The ladder: end of input, SIGTERM, SIGKILL, and again if it was the program
// that hung up.
func TestHandlerHangsUp(t *testing.T) {
	trap := "trap '' TERM; echo trapped >&2; exec sleep 1000"
	tests := []struct {
		name    string
		command []string
		say     string
		want    string
	}{
		{"ends with its input", []string{"/bin/cat"}, "", "exit status 0"},
		{"ends by SIGTERM", []string{"/bin/sleep", "1000"}, "", "signal: terminated"},
		{"ends by SIGKILL", []string{"/bin/sh", "-c", trap}, "trapped", "signal: killed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			command, _ := json.Marshal(tt.command)
			r := serve(t, "kind=\"handler\"\ncommand="+string(command), hurry, func(r *rig) {
				if tt.want == "exit status 0" { // however slow the machine is, it is not told twice
					r.svc.(*handler).program.Times.HangUp = patience
				}
			})
			r.log.wait(t, "program started", 1)
			if tt.say != "" {
				r.log.wait(t, tt.say, 1)
			}
			over := make(chan struct{})
			r.do(func() {
				h := r.svc.(*handler)
				h.Stop(func() { close(over) })
				if tt.want == "signal: terminated" { // nor killed before it has seen the first signal
					h.program.Times.HangUp = patience
				}
			})
			r.log.wait(t, "program ended status="+tt.want, 1)
			r.do(func() { r.svc.(*handler).Stop(func() {}) }) // harmless
			<-over
			r.do(func() {
				if s := r.loop.Stats(); s.Conns+s.Timers != 0 {
					t.Errorf("%d pipes and %d timers are left", s.Conns, s.Timers)
				}
			})
		})
	}
}

// A program that closes one of its ends is of no use and is replaced.
func TestHandlerProgramHangsUp(t *testing.T) {
	for _, how := range []string{"mute", "deaf"} {
		t.Run(how, func(t *testing.T) {
			r := serveProgram(t, "error=\"sorry\"")
			c := r.dial()
			c.send(how + "\n")
			c.want("sorry")
			c.send("x\n")
			c.want("x")
		})
	}
}

// What the program has started does not outlive it, and does not keep its
// successor waiting.
func TestHandlerChildrenDieWithTheProgram(t *testing.T) {
	script := "sleep 1000 & echo $! >&2; read x; exit 5"
	r := serve(t, fmt.Sprintf("kind=\"handler\"\nerror=\"sorry\"\ncommand=[\"/bin/sh\",\"-c\",%q]", script), hurry)
	c := r.dial()
	rec := r.log.wait(t, "program wrote", 1)
	child, err := strconv.Atoi(rec[strings.LastIndex(rec, "=")+1:])
	if err != nil {
		t.Fatal(err)
	}
	c.send("go\n")
	c.want("sorry")
	r.log.wait(t, "program ended status=exit status 5", 1)
	for began := time.Now(); ; {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child))
		if err != nil || strings.Contains(string(stat), ") Z ") { // dead; its new parent may take its time
			break
		}
		if time.Since(began) > patience {
			t.Fatal("the program's child lives on")
		}
	}
}

// A child that left the group keeps the pipe open: its output is not waited for.
func TestHandlerOutputHeldOpen(t *testing.T) {
	r := serve(t, "kind=\"handler\"\ncommand=[\"/bin/sh\",\"-c\",\"setsid sleep 3 & exit 0\"]", hurry, func(r *rig) {
		r.svc.(*handler).program.Times.Rest = 50 * time.Millisecond
	})
	r.log.wait(t, "program ended status=exit status 0", 2)
}
