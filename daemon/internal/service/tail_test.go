// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/follow"
	"penstock/daemon/internal/report"
	"penstock/evloop"
	"penstock/evloop/evlooptest"
)

// A logFile is a file that a program writes.
type logFile struct {
	t    *testing.T
	path string
}

func newLogFile(t *testing.T) *logFile {
	return &logFile{t, filepath.Join(t.TempDir(), "log")}
}

func (f *logFile) add(text string) {
	f.t.Helper()
	fd, err := os.OpenFile(f.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		f.t.Fatal(err)
	}
	defer fd.Close()
	if _, err := fd.WriteString(text); err != nil {
		f.t.Fatal(err)
	}
}

func (f *logFile) rename(to string) {
	f.t.Helper()
	if err := os.Rename(f.path, f.path+to); err != nil {
		f.t.Fatal(err)
	}
}

func (f *logFile) conf(keys string) string {
	return fmt.Sprintf("kind=\"tail\"\nfile=%q\n%s", f.path, keys)
}

// TestTail: a newcomer gets the last lines and then all that come, whichever file has
// the name.
func TestTail(t *testing.T) {
	f := newLogFile(t)
	f.add("one\ntwo\nthree\nha")
	r := serve(t, f.conf("history=2"))
	a := r.dial()
	a.want("two\nthree\n")
	f.add("lf\n\n\xff\x00bytes\r\n")
	a.want("half\n\n\xff\x00bytes\r\n")
	b := r.dial()
	b.want("\n\xff\x00bytes\r\n")
	f.add("the end")
	f.rename(".1")
	f.add("new\n")
	for _, c := range []*testClient{a, b} {
		c.want("the end\nnew\n")
	}
	if err := os.Truncate(f.path, 0); err != nil {
		t.Fatal(err)
	}
	f.add("after the cut\n")
	for _, c := range []*testClient{a, b} {
		c.want("after the cut\n")
	}
	r.log.wait(t, "file followed file="+f.path+" event=replaced offset=0", 1)
	r.log.wait(t, "file followed file="+f.path+" event=truncated offset=0", 1)
}

// TestTailAwaited: clients may come before the file does, and it is said once.
func TestTailAwaited(t *testing.T) {
	f := newLogFile(t)
	r := serve(t, f.conf("history=5"))
	a := r.dial()
	r.log.wait(t, "file awaited", 1)
	f.add("one\ntwo\n")
	a.want("one\ntwo\n")
	if n := r.log.count("file awaited"); n != 1 {
		t.Errorf("%d records that the file is awaited, want 1", n)
	}
}

// TestTailLongLine: a line above max_line comes in pieces, which are its bytes.
func TestTailLongLine(t *testing.T) {
	for _, size := range []int{99, 100, 101, 200, 201, 1000} {
		f := newLogFile(t)
		r := serve(t, f.conf("max_line=100\nhistory=100"))
		a := r.dial()
		line := strings.Repeat("x", size)
		f.add(line + "\nshort\n" + line)
		a.want(line + "\nshort\n")
		f.rename(".1")
		f.add("new\n")
		a.want(line + "\nnew\n")
		r.dial().want(line + "\nshort\n" + line + "\nnew\n")
		if size > 100 {
			r.log.wait(t, fmt.Sprintf("line longer than max_line sent in pieces file=%s bytes=%d", f.path, size), 1)
		}
	}
}

// TestTailEnds: what a client says is ignored. One that has said nothing stays when it
// shuts its side, another one is done.
func TestTailEnds(t *testing.T) {
	f := newLogFile(t)
	f.add("one\n")
	r := serve(t, f.conf("history=5"))
	quiet, talker := r.dial(), r.dial()
	quiet.shut()
	quiet.want("one\n")
	talker.send("hello\n")
	talker.shut()
	if got := talker.rest(); got != "one\n" {
		t.Errorf("got %q, want the line that was there", got)
	}
	f.add("two\n")
	quiet.want("two\n")
}

// TestTailSlowDisk: while a look takes long, the service goes on, and what is written
// meanwhile comes afterwards.
func TestTailSlowDisk(t *testing.T) {
	f := newLogFile(t)
	f.add("one\n")
	slow, going := make(chan struct{}), make(chan struct{}, 100)
	r := serve(t, f.conf("history=5"), func(r *rig) {
		r.svc.(*tail).read = func(file *follow.File) follow.Found {
			going <- struct{}{}
			<-slow
			return file.Look()
		}
	})
	<-going
	a := r.dial()
	a.send("ignored\n") // the loop serves
	r.until("the input", func() bool { return r.loop.Conn(a.id).BytesIn() > 0 })
	f.add("two\n")
	close(slow)
	a.want("one\ntwo\n")
}

// TestTailMissed: a file that comes and goes during a look is named in the log.
func TestTailMissed(t *testing.T) {
	f := newLogFile(t)
	f.add("one\n")
	var disk sync.Mutex
	r := serve(t, f.conf("history=5"), func(r *rig) {
		r.svc.(*tail).read = func(file *follow.File) follow.Found {
			disk.Lock()
			defer disk.Unlock()
			return file.Look()
		}
	})
	a := r.dial()
	a.want("one\n")
	disk.Lock()
	for _, old := range []string{".2", ".1"} {
		f.rename(old)
		f.add("after " + old + "\n")
	}
	disk.Unlock()
	a.want("after .1\n")
	r.log.wait(t, "file came and went unread file="+f.path+" files=1", 1)
}

// TestTailIdle: while nothing is written, nothing runs: no timer, no goroutine.
func TestTailIdle(t *testing.T) {
	f := newLogFile(t)
	f.add("one\n")
	r := serve(t, f.conf("history=1"))
	r.dial().want("one\n")
	r.until("the last look", func() bool { return !r.svc.(*tail).looking })
	r.do(func() {
		if s := r.svc.(*tail); r.loop.Stats().Timers != 0 || s.looking || s.again || s.data != nil {
			t.Errorf("%d timers, looking %v, again %v, %d bytes kept; want nothing", r.loop.Stats().Timers, s.looking, s.again, len(s.data))
		}
	})
}

// TestTailAdjust: another file takes the place of the first for the same clients.
func TestTailAdjust(t *testing.T) {
	f, g := newLogFile(t), newLogFile(t)
	f.add("one\nhalf")
	g.add("1\n2\n")
	r := serve(t, f.conf("history=1"))
	a := r.dial()
	a.want("one\n")
	r.until("the half line", func() bool { return len(r.svc.(*tail).half) == 4 })
	r.do(func() { r.svc.(Adjuster).Adjust(parse(t, g.conf("history=1"))) })
	a.want("half\n2\n")
	f.add("unseen\n")
	g.add("3\n")
	a.want("3\n")
	r.dial().want("3\n")
}

// TestTailAdjustsMaxLine: half a line may be longer than a reload allows.
func TestTailAdjustsMaxLine(t *testing.T) {
	f := newLogFile(t)
	half := strings.Repeat("x", 200)
	f.add("one\n" + half)
	r := serve(t, f.conf("history=1"))
	a := r.dial()
	a.want("one\n")
	r.until("the half line", func() bool { return len(r.svc.(*tail).half) == len(half) })
	r.do(func() { r.svc.(Adjuster).Adjust(parse(t, f.conf("history=1\nmax_line=100"))) })
	f.add("yz\n")
	a.want(half + "yz\n")
}

// TestTailCarried: the next process goes on at the next byte, also in the middle of a
// line and after a rotation, and knows the recent lines.
func TestTailCarried(t *testing.T) {
	f := newLogFile(t)
	f.add("one\ntwo\nha")
	r := serve(t, f.conf("history=5"))
	a := r.dial()
	a.want("one\ntwo\n")
	r.until("the half line", func() bool { return len(r.svc.(*tail).half) == 2 })
	var state []byte
	r.do(func() { state = r.svc.(Carrier).Save() })
	f.add("lf\nthree\n")
	f.rename(".1")
	f.add("four\n")
	next := serve(t, f.conf("history=5"), func(r *rig) {
		if err := r.svc.(Carrier).Load(state); err != nil {
			t.Fatal(err)
		}
	})
	next.until("the new file", func() bool { return len(next.svc.(*tail).recent.list) == 5 })
	next.dial().want("one\ntwo\nhalf\nthree\nfour\n")
	next.log.wait(t, "event=resumed offset=10", 1)
}

// TestTailLoopEnds: a look that is over when the loop ends leaves nothing open.
func TestTailLoopEnds(t *testing.T) {
	f := newLogFile(t)
	f.add("one\n")
	before := evlooptest.Descriptors()
	loop, err := evloop.New(evloop.Config{})
	if err != nil {
		t.Fatal(err)
	}
	log := report.New(slog.New(slog.DiscardHandler), config.PeersFull, loop).Service("x")
	s := newTail(parse(t, f.conf("history=1")), Env{Loop: loop, Log: log})
	looked := make(chan struct{})
	s.read = func(file *follow.File) follow.Found { defer close(looked); return file.Look() }
	goroutines := runtime.NumGoroutine()
	s.Start()
	<-looked
	for end := time.Now().Add(patience); runtime.NumGoroutine() > goroutines && time.Now().Before(end); {
		runtime.Gosched() // until it has posted
	}
	loop.Close()
	s.Stop(func() {})
	evlooptest.NoneLeftOpen(t, before)
}

// TestTailLoad: a file that grows and is rotated all the time, while clients come at any
// moment: each gets the numbered lines from some line on, every one once and in order.
func TestTailLoad(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			f := newLogFile(t)
			f.add("")
			r := serve(t, f.conf("history=50\nqueue=\"4MiB\""))
			const lines = 4000
			done := make(chan error, 8)
			for n := 0; n < lines; {
				if n%(lines/8) == 0 && n < lines*7/8 {
					c := r.dial()
					go func() { done <- numbered(c, lines-1) }()
				}
				var b strings.Builder
				for range 1 + rng.IntN(50) {
					if n < lines {
						fmt.Fprintf(&b, "%d %s\n", n, strings.Repeat("x", rng.IntN(200)))
						if n++; n%(lines/8) == 0 {
							break
						}
					}
				}
				f.add(b.String())
				if rng.IntN(10) == 0 {
					var is unix.Stat_t
					if err := unix.Stat(f.path, &is); err != nil {
						t.Fatal(err)
					}
					r.until("the file is known", func() bool { return r.svc.(*tail).at.Ino == is.Ino })
					f.rename(fmt.Sprint(".", n))
					if rng.IntN(2) == 0 {
						f.add("")
					}
				}
			}
			for range 7 {
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// numbered reads lines that begin with a number, each one more than the one before, up
// to last.
func numbered(c *testClient, last int) error {
	want := -1
	for in := bufio.NewScanner(patient{c.conn}); in.Scan(); {
		var n int
		if _, err := fmt.Sscanf(in.Text(), "%d", &n); err != nil || want >= 0 && n != want {
			return fmt.Errorf("got %.40q, want line %d", in.Text(), want)
		}
		if n == last {
			return nil
		}
		want = n + 1
	}
	return errors.New("the last line does not come")
}
