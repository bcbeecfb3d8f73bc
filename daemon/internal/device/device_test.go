// SPDX-License-Identifier: Apache-2.0

package device

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/report"
	"penstock/daemon/internal/tty"
	"penstock/evloop"
	"penstock/evloop/evlooptest"
)

func TestMain(m *testing.M) { os.Exit(evlooptest.Main(m)) }

// A rig is a device on a running loop. Its fields belong to the loop.
type rig struct {
	t     *testing.T
	loop  *evloop.Loop
	dev   *Device
	got   []byte
	ups   int
	downs int
	room  int // calls of Proceed

	mu  sync.Mutex
	log bytes.Buffer
}

func (r *rig) Up()           { r.ups++ }
func (r *rig) Down()         { r.downs++ }
func (r *rig) Data(p []byte) { r.got = append(r.got, p...) }
func (r *rig) Proceed()      { r.room++ }

func (r *rig) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(p)
}

func (r *rig) logged() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.String()
}

// usual is how a line is set when a test is not about that.
var usual = tty.Settings{Speed: 9600, Bits: 8, Parity: tty.None, Stop: 1}

// eachBackend runs f with a loop of each kind. A kernel that refuses the ring has the
// loop fall back, and the test is the same.
func eachBackend(t *testing.T, f func(t *testing.T, c evloop.Config)) {
	t.Run("epoll", func(t *testing.T) { f(t, evloop.Config{}) })
	t.Run("io_uring", func(t *testing.T) { f(t, evloop.Config{IOUring: &evloop.IOUring{}}) })
}

func serve(t *testing.T, c evloop.Config, o Options) *rig {
	t.Helper()
	loop, err := evloop.New(c)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, loop: loop}
	log := report.New(slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelDebug})), config.PeersFull, loop)
	if o.TTY == (tty.Settings{}) {
		o.TTY = usual
	}
	r.dev = New(o, NewFolders(loop), log.Service("x"), r)
	r.dev.Times.First, r.dev.Times.Most, r.dev.Times.Room = 5*time.Millisecond, 20*time.Millisecond, 2*time.Millisecond
	r.dev.Times.Flush = 100 * time.Millisecond
	r.dev.Start()
	t.Cleanup(func() { r.dev.Stop(func() {}) }) // when the loop is closed
	evlooptest.Run(t, loop)
	return r
}

func (r *rig) until(what string, cond func() bool) {
	r.t.Helper()
	evlooptest.Until(r.t, r.loop, what, cond)
}

func (r *rig) do(f func()) { r.t.Helper(); evlooptest.Do(r.t, r.loop, f) }

// want waits until exactly these bytes have come.
func (r *rig) want(s string) {
	r.t.Helper()
	r.until(fmt.Sprintf("%d bytes", len(s)), func() bool { return len(r.got) >= len(s) })
	r.do(func() {
		if string(r.got) != s {
			r.t.Errorf("got %d bytes %.60q, want %d %.60q", len(r.got), r.got, len(s), s)
		}
		r.got = nil
	})
}

// stop ends the device and waits for it.
func (r *rig) stop() {
	r.t.Helper()
	ended := false
	r.do(func() { r.dev.Stop(func() { ended = true }) })
	r.until("the end of the device", func() bool { return ended })
}

func write(t *testing.T, to *os.File, s string) {
	t.Helper()
	if _, err := to.WriteString(s); err != nil {
		t.Fatal(err)
	}
}

// link has name lead to a device, as udev does.
func link(t *testing.T, to, name string) {
	t.Helper()
	_ = os.Remove(name)
	if err := os.Symlink(to, name); err != nil {
		t.Fatal(err)
	}
}

// TestUnplugged: a device that goes is closed at once, so that its name is free, and the
// one that comes under its name is opened.
func TestUnplugged(t *testing.T) {
	eachBackend(t, func(t *testing.T, c evloop.Config) {
		name := filepath.Join(t.TempDir(), "usb-0")
		r := serve(t, c, Options{Path: name, Exclusive: true})
		r.until("the news that it is not there", func() bool { return r.downs >= 1 })
		for round := 1; round <= 3; round++ {
			master, slave := evlooptest.PTY(t)
			link(t, slave, name)
			r.until("the device", func() bool { return r.ups == round })
			write(t, master, "one\n")
			r.want("one\n")
			before := 0
			r.do(func() { before = r.downs })
			os.Remove(name)
			master.Close()
			r.until("its end", func() bool { return r.downs > before })
			r.until("its close", func() bool { return r.dev.now.fd < 0 && r.dev.conn == nil && r.dev.life.state != lost })
			if open := openNames(t, slave); open != "" {
				t.Errorf("%s is still open", open)
			}
		}
		if n := strings.Count(r.logged(), `"device gone"`); n != 3 {
			t.Errorf("%d records that it is gone, want 3:\n%s", n, r.logged())
		}
	})
}

// openNames lists what of this process is open under a name that begins so.
func openNames(t *testing.T, name string) (open string) {
	t.Helper()
	for _, d := range evlooptest.Descriptors() {
		if strings.Contains(d, name+" (deleted)") || strings.HasSuffix(d, name) {
			open += d + " "
		}
	}
	return open
}

// TestMoreThanARead: a line gives 4095 bytes a read at most, and no other edge for what is
// behind them.
func TestMoreThanARead(t *testing.T) {
	eachBackend(t, func(t *testing.T, c evloop.Config) {
		master, slave := evlooptest.PTY(t)
		r := serve(t, c, Options{Path: slave})
		r.until("the device", func() bool { return r.ups == 1 })
		text := strings.Repeat("0123456789abcde\n", 3000)
		go func() { _, _ = master.WriteString(text) }()
		r.want(text)
	})
}

// TestFIFO: writers come and go, and the device stays. One that is removed and made anew
// is opened anew.
func TestFIFO(t *testing.T) {
	eachBackend(t, func(t *testing.T, c evloop.Config) {
		name := filepath.Join(t.TempDir(), "fifo")
		make := func() {
			if err := unix.Mkfifo(name, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		make()
		r := serve(t, c, Options{Path: name, Write: true})
		r.until("the device", func() bool { return r.ups == 1 })
		say := func(s string) {
			w, err := os.OpenFile(name, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			write(t, w, s)
			w.Close()
			r.want(s)
		}
		say("one\n")
		say("two\n")
		r.do(func() {
			if r.downs > 0 || r.dev.Takes() {
				t.Errorf("%d ends without a writer, want none; takes output: %v", r.downs, r.dev.Takes())
			}
		})
		os.Remove(name)
		make()
		r.until("the new one", func() bool { return r.ups == 2 })
		say("three\n")
	})
}

// TestNoDevice: what is none is named once, and nothing else happens.
func TestNoDevice(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		file: "regular file", dir: "no terminal line", filepath.Join(dir, "none"): "no such file", "/dev/null": "cannot be waited for",
	} {
		r := serve(t, evloop.Config{}, Options{Path: name})
		r.until("some attempts", func() bool { return r.downs > 2 })
		if n := strings.Count(r.logged(), want); n != 1 || strings.Contains(r.logged(), "gone") {
			t.Errorf("%s: %d records with %q, want one and no other:\n%s", name, n, want, r.logged())
		}
		r.stop()
	}
}

// TestWrite: output goes out in order, and a device that takes none is read all the same.
func TestWrite(t *testing.T) {
	eachBackend(t, func(t *testing.T, c evloop.Config) {
		master, slave := evlooptest.PTY(t)
		r := serve(t, c, Options{Path: slave, Write: true})
		r.until("the device", func() bool { return r.ups == 1 })
		piece, wrote := bytes.Repeat([]byte("0123456789abcde\n"), 64), 0
		r.do(func() {
			for r.dev.Ready() {
				r.dev.Write(piece)
				wrote++
			}
			r.dev.AwaitRoom()
		})
		r.until("a full device", func() bool {
			for r.dev.Ready() {
				r.dev.Write(piece)
				wrote++
			}
			return r.dev.conn.Queued() >= roomFor
		})
		before := 0
		r.do(func() { before = r.room; r.dev.AwaitRoom() })
		write(t, master, "read\n")
		r.want("read\n")
		got := make([]byte, wrote*len(piece))
		for n := 0; n < len(got); {
			k, err := master.Read(got[n:])
			if err != nil {
				t.Fatal(err)
			}
			n += k
		}
		if !bytes.Equal(got, bytes.Repeat(piece, wrote)) {
			t.Error("other bytes have come out")
		}
		r.until("the word that there is room", func() bool { return r.room > before })
	})
}

// TestRenew: other settings hold at once.
func TestRenew(t *testing.T) {
	master, slave := evlooptest.PTY(t)
	r := serve(t, evloop.Config{}, Options{Path: slave})
	r.until("the device", func() bool { return r.ups == 1 })
	fast := usual
	fast.Speed = 115200
	r.do(func() { r.dev.Renew(Options{Path: slave, TTY: usual}) }) // the same
	r.do(func() { r.dev.Renew(Options{Path: slave, TTY: fast}) })
	r.until("the device again", func() bool { return r.ups == 2 })
	write(t, master, "x\n")
	r.want("x\n")
	now, err := unix.IoctlGetTermios(int(master.Fd()), unix.TCGETS2)
	if err != nil || now.Ospeed != 115200 {
		t.Errorf("speed %d (%v), want 115200", now.Ospeed, err)
	}
	if strings.Contains(r.logged(), "gone") {
		t.Errorf("it is logged as gone:\n%s", r.logged())
	}
}

// TestLookTwice: a change that comes while the name is being looked at is not forgotten.
func TestLookTwice(t *testing.T) {
	dir := t.TempDir()
	name, other := filepath.Join(dir, "fifo"), filepath.Join(dir, "other")
	for _, n := range []string{name, other} {
		if err := unix.Mkfifo(n, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := serve(t, evloop.Config{}, Options{Path: name})
	r.until("the device", func() bool { return r.ups == 1 })
	r.do(func() {
		r.dev.folders.leave(r.dev, true) // the test alone says what has changed
		r.dev.looking = true             // a look that was too early is under way
		if err := os.Rename(other, name); err != nil {
			t.Error(err)
		}
		r.dev.advance(seen)
		r.dev.sawName(false, r.dev.now.is)
	})
	r.until("the new one", func() bool { return r.ups == 2 })
}

// TestRenamed: a device that has got the name of the open one is opened at once, however
// long the next wait would be.
func TestRenamed(t *testing.T) {
	eachBackend(t, func(t *testing.T, c evloop.Config) {
		dir := t.TempDir()
		name, other := filepath.Join(dir, "fifo"), filepath.Join(dir, "other")
		for _, n := range []string{name, other} {
			if err := unix.Mkfifo(n, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		r := serve(t, c, Options{Path: name})
		r.until("the device", func() bool { return r.ups == 1 })
		r.do(func() { r.dev.Times.First, r.dev.Times.Most = time.Hour, time.Hour })
		if err := os.Rename(other, name); err != nil {
			t.Fatal(err)
		}
		r.until("the new one", func() bool { return r.ups == 2 })
	})
}

// TestLoopEnds: a device that was opened when the loop ends is closed.
func TestLoopEnds(t *testing.T) {
	_, name := evlooptest.PTY(t)
	before := evlooptest.Descriptors()
	loop, err := evloop.New(evloop.Config{})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, loop: loop}
	log := report.New(slog.New(slog.DiscardHandler), config.PeersFull, loop)
	r.dev = New(Options{Path: name, TTY: usual}, NewFolders(loop), log.Service("x"), r)
	goroutines := runtime.NumGoroutine()
	r.dev.Start()
	for end := time.Now().Add(evlooptest.Patience); runtime.NumGoroutine() > goroutines && time.Now().Before(end); {
		runtime.Gosched() // until it has posted
	}
	loop.Close()
	r.dev.Stop(func() {})
	evlooptest.NoneLeftOpen(t, before)
}
