// SPDX-License-Identifier: Apache-2.0

package service

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/report"
	"penstock/evloop"
)

func TestHandlerReplies(t *testing.T) {
	r := serveProgram(t, "")
	a, b := r.dial(), r.dial()
	a.send("one\r\ntwo\n")
	a.want("onetwo") // nothing is added
	b.send("\n\xff\xfe\nthree \"quoted\"\n")
	b.want("\xff\xfethree \"quoted\"")
	a.send("all to everybody\n")
	a.want("to everybody")
	b.want("to everybody")
}

// printf 'x\n' | nc -N: the reply comes although the client has shut its side.
// What it sent behind the last delimiter is a message too, or is counted.
func TestHandlerAnswersAfterEOF(t *testing.T) {
	for _, tt := range []struct {
		keys, want string
		lost       int
		end        error
	}{
		{"", "abchalf", 0, nil},
		{"at_eof=\"take\"", "abchalf", 0, nil},
		{"at_eof=\"drop\"", "abc", 1, nil},
		{"max_line=4", "abchalf", 0, nil},
		{"max_line=3", "abcERR line too long\n", 0, ErrLineTooLong}, // as with its end
	} {
		t.Run(tt.keys, func(t *testing.T) {
			r := serveProgram(t, tt.keys)
			c := r.dial()
			c.send("a\nb\nc\nhalf")
			c.shut()
			if got := c.rest(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			r.wantEnd(tt.end)
			r.wantLost(report.LostUnfinished, tt.lost)
			if got := r.log.count("input dropped conn=1 bytes=4 reason=no_delimiter"); got != tt.lost {
				t.Errorf("%d records of it, want %d", got, tt.lost)
			}
		})
	}
}

// A last message without delimiter waits for room like any other.
func TestHandlerTakesTheRestWhenThereIsRoom(t *testing.T) {
	gate := filepath.Join(t.TempDir(), "gate")
	if err := unix.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	r := serve(t, fmt.Sprintf("kind=\"handler\"\ncommand=[\"/bin/sh\",\"-c\",%q]", "read x <"+gate+"; exec cat"), hurry)
	r.log.wait(t, "program started", 1)
	last, flood := r.dial(), r.dial()
	last.send("half")
	r.until("the half", func() bool { return r.loop.Conn(last.id).BytesIn() == 4 })
	go func() {
		for err := error(nil); err == nil; {
			_, err = flood.conn.Write([]byte(strings.Repeat("x", 4000) + "\n"))
		}
	}()
	r.until("the pause of the program", func() bool { return !r.svc.(*handler).program.Ready() })
	last.shut()
	r.until("the wait for room", func() bool { cl := clientOf(r.loop.Conn(last.id)); return cl.eof && cl.rest != nil })
	flood.conn.Close()
	if err := os.WriteFile(gate, []byte("go\n"), 0); err != nil {
		t.Fatal(err)
	}
	if got := last.rest(); got != "half" {
		t.Errorf("got %q, want the reply to the rest", got)
	}
}

func TestHandlerCloses(t *testing.T) {
	r := serveProgram(t, "")
	c := r.dial()
	c.send("close\n")
	c.want("bye")
	c.wantEOF()
	c.conn.Close()
	r.wantEnd(nil)
}

// Without a delimiter a message is what one read returned, however many lines.
func TestHandlerWithoutDelimiter(t *testing.T) {
	r := serveProgram(t, "delimiter=\"\"\nmax_line=8")
	c := r.dial()
	c.send("a\nb")
	c.want("a\nb")
	c.send("0123456789") // cut, not refused
	c.want("0123456789")
}

func TestHandlerLineTooLong(t *testing.T) {
	r := serveProgram(t, "max_line=8")
	c := r.dial()
	c.send("0123456789")
	c.want("ERR line too long\n")
	c.conn.Close()
	r.wantEnd(ErrLineTooLong)
}

func TestHandlerEvents(t *testing.T) {
	r := serveProgram(t, "events=true")
	a := r.dial()
	r.log.wait(t, "text=open 1", 1)
	b := r.dial()
	r.log.wait(t, "text=open 2", 1)
	a.conn.Close()
	r.log.wait(t, "text=close 1", 1)
	b.send("crash\n")
	r.log.wait(t, "text=open 2", 2) // the next program has to know as well
	b.send("x\n")
	b.want("x")
	if n := r.log.count("text=open 1"); n != 1 {
		t.Errorf("told %d times of a client that left before", n)
	}
}

// Output that is no reply is logged, bounded, and dropped.
func TestHandlerInvalidOutput(t *testing.T) {
	r := serveProgram(t, "")
	c := r.dial()
	c.send("raw hello \x1b[2J\n")
	c.send("raw {\"conn\":99,\"data\":\"nobody\"}\n")
	c.send("raw {\"conn\":null,\"data\":\"not for all\"}\n")
	c.send("x\n")
	c.want("x")
	want := `program output dropped err=not a JSON object bytes=10 text=hello \x1b[2J`
	if got := r.log.wait(t, "program output dropped", 1); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	r.log.wait(t, `"conn" is null`, 1)
	for range 100 {
		c.send("raw rubbish\n")
	}
	c.send("y\n")
	c.want("y")
	if n := r.log.count("program output dropped"); n > 10 {
		t.Errorf("%d records, want 10", n)
	}
	c.send("crash\n") // nothing follows that could say how many were held back
	r.log.wait(t, "messages suppressed service=x event=program output dropped suppressed=92", 1)
}

func TestHandlerOverlongOutput(t *testing.T) {
	r := serveProgram(t, "queue=\"4MiB\"")
	c := r.dial()
	c.send("big 1000000\n") // far beyond what the loop keeps of a line
	c.want(strings.Repeat("x", 1000000))
	c.send("big 1048576\nx\n")
	c.want("x")
	if got := r.log.wait(t, "line too long", 1); len(got) > 250 {
		t.Errorf("a record of %d bytes", len(got))
	}
}

// Broadcasts may be dropped, replies are not: who would miss one is cut off.
func TestHandlerOverflow(t *testing.T) {
	fill := strings.Repeat("x", 3000)
	for _, overflow := range []string{"disconnect", "drop-oldest", "drop-newest"} {
		t.Run(overflow, func(t *testing.T) {
			r := serveProgram(t, "queue=8192\noverflow=\""+overflow+"\"")
			stuck, talker := r.dial(), r.dial()
			for range 500 {
				talker.send("all " + fill + "\n")
				talker.want(fill)
			}
			if overflow == "disconnect" {
				r.wantEnd(evloop.ErrOverflow)
				return
			}
			if r.dropped.Load() == 0 {
				t.Fatal("no broadcast was dropped")
			}
			stuck.send("big 6000\n") // does not fit beside what waits
			for {
				select {
				case err := <-r.ended:
					if err != ErrReplyLost {
						t.Errorf("closed with %v, want the lost reply as the reason", err)
					}
					return
				default:
					talker.send("all " + fill + "\n")
					talker.want(fill)
				}
			}
		})
	}
}

// A service that ends lets clients wait for replies that are due, for a while.
func TestHandlerDrain(t *testing.T) {
	r := serveProgram(t, "")
	idle, waiting, hopeless, talker := r.dial(), r.dial(), r.dial(), r.dial()
	for _, c := range []*testClient{waiting, hopeless} {
		c.send("hold\n")
	}
	talker.send("x\n")
	talker.want("x") // and the others' messages are under way
	r.until("the arrival of both", func() bool {
		pending := 0
		for _, c := range r.svc.(*handler).clients {
			pending += clientOf(c).pending
		}
		return pending == 2
	})
	r.do(func() {
		h := r.svc.(*handler)
		h.Drain(r.loop.Conn(idle.id), nil, patience)
		h.Drain(r.loop.Conn(waiting.id), nil, patience)
		h.Drain(r.loop.Conn(hopeless.id), nil, 10*time.Millisecond)
	})
	idle.wantEOF()
	hopeless.wantEOF()
	talker.send("raw {\"conn\":2,\"data\":\"late\"}\n")
	if got := waiting.rest(); got != "late" {
		t.Errorf("got %q, want the reply", got)
	}
	hopeless.conn.Close()
	r.wantEnd(ErrUnanswered)
	for _, c := range []*testClient{idle, waiting} {
		c.conn.Close()
		r.wantEnd(nil)
	}
	r.wantLost(report.LostUnanswered, 1)
}

// A message that the program has not taken when the service ends is counted.
func TestHandlerDrainOfWhatWasNotTaken(t *testing.T) {
	r := serve(t, `kind="handler"`+"\ncommand=[\"/bin/sleep\",\"1000\"]", hurry)
	r.log.wait(t, "program started", 1)
	flood, waiting := r.dial(), r.dial()
	defer flood.conn.Close()
	go func() {
		for err := error(nil); err == nil; {
			_, err = flood.conn.Write([]byte(strings.Repeat("x", 4000) + "\n"))
		}
	}()
	r.until("the pause of the program", func() bool { return !r.svc.(*handler).program.Ready() })
	waiting.send("x\n")
	r.until("the wait for room", func() bool {
		c := r.loop.Conn(waiting.id)
		blocked := clientOf(c).blocked
		if blocked {
			r.svc.(*handler).Drain(c, c.Input(), patience)
		}
		return blocked
	})
	waiting.wantEOF()
	waiting.conn.Close()
	r.wantEnd(ErrUnanswered)
	r.wantLost(report.LostUnanswered, 1)
}

// The built-in example and the programs in daemon/examples work.
func TestHandlerExamples(t *testing.T) {
	folder, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("builtin", func(t *testing.T) {
		for _, s := range config.Builtin().Services {
			if s.Kind == config.KindHandler {
				c := serveConf(t, s).dial()
				c.send("hi \"there\"\\\n") // a message as it came: no delimiter
				c.want("you said: hi \"there\"\\\n")
			}
		}
	})
	t.Run("sh", func(t *testing.T) {
		a := serve(t, fmt.Sprintf("kind=\"handler\"\nevents=true\ncommand=[\"/bin/sh\",%q]", folder+"/handler.sh")).dial()
		a.send("hi \"there\"\\\n\xff\n%s {}\n")
		a.want("you said: hi \"there\"\\\nyou said: no text\nyou said: %s {}\n")
	})
	t.Run("python", func(t *testing.T) {
		const python = "/usr/bin/python3"
		if _, err := os.Stat(python); err != nil {
			t.Skip("no interpreter:", err)
		}
		r := serve(t, fmt.Sprintf("kind=\"handler\"\nevents=true\ncommand=[%q,%q]", python, folder+"/handler.py"))
		a, b := r.dial(), r.dial()
		a.send("x\n0\n101\n")
		a.want("a number, please\ntoo small\ntoo large\n")
		low, high := 1, 100
		for {
			guess := (low + high) / 2
			a.send(strconv.Itoa(guess) + "\n")
			answer := make([]byte, 8)
			a.conn.SetReadDeadline(time.Now().Add(patience))
			n, _ := a.conn.Read(answer[:1])
			n2, _ := a.conn.Read(answer[1:])
			switch got := string(answer[:n+n2]); got {
			case "too smal":
				a.want("l\n")
				low = guess + 1
			case "too larg":
				a.want("e\n")
				high = guess - 1
			case "you won\n":
				a.wantEOF()
				b.want(fmt.Sprintf("somebody has guessed %d\n", guess))
				return
			default:
				t.Fatalf("got %q", got)
			}
		}
	})
}
