// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"penstock/systemd/sdtest"
)

// patient bounds what should come at once.
const patient = 10 * time.Second

func listenNotify(t testing.TB, path string) *sdtest.Notify {
	t.Helper()
	s, err := sdtest.ListenNotify(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// notifier returns both ends of a notify socket.
func notifier(t *testing.T) (*Notifier, *sdtest.Notify) {
	t.Helper()
	s := listenNotify(t, filepath.Join(sdtest.ShortDir(t), "notify"))
	t.Setenv("NOTIFY_SOCKET", s.Path)
	n, err := NewNotifier()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n, s
}

func recv(t *testing.T, s *sdtest.Notify) sdtest.Message {
	t.Helper()
	m, err := s.Recv(patient)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// drain empties the queue and returns the texts that are not of Fill.
func drain(t *testing.T, s *sdtest.Notify) (texts []string) {
	t.Helper()
	for {
		m, err := s.Recv(0)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return texts
		}
		if err != nil {
			t.Fatal(err)
		}
		m.Close()
		if m.Text != "X_FILL=1" {
			texts = append(texts, m.Text)
		}
	}
}

func TestNotifyMessages(t *testing.T) {
	n, s := notifier(t)
	tests := []struct {
		name string
		send func() error
		want string
	}{
		{"ready", func() error { return n.Ready("5 services") }, "READY=1\nSTATUS=5 services"},
		{"ready, no status", func() error { return n.Ready("") }, "READY=1"},
		{"stopping", func() error { return n.Stopping("draining") }, "STOPPING=1\nSTATUS=draining"},
		{"status", func() error { return n.Status("idle") }, "STATUS=idle"},
		{"status cleared", func() error { return n.Status("") }, "STATUS="},
		{"watchdog", n.Watchdog, "WATCHDOG=1"},
		{"extend", func() error { return n.ExtendTimeout(1500 * time.Millisecond) }, "EXTEND_TIMEOUT_USEC=1500000"},
		{"failed", func() error { return n.Failed(unix.EADDRINUSE, "port 7 is taken") }, "ERRNO=98\nSTATUS=port 7 is taken"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.send(); err != nil {
				t.Fatal(err)
			}
			if got := recv(t, s).Text; got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestNotifyReloadingCarriesTime: without MONOTONIC_USEC a reload job of a
// Type=notify-reload unit hangs until it times out.
func TestNotifyReloadingCarriesTime(t *testing.T) {
	n, s := notifier(t)
	now := func() int64 {
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
			t.Fatal(err)
		}
		return ts.Nano() / 1000
	}
	before := now()
	if err := n.Reloading(); err != nil {
		t.Fatal(err)
	}
	after := now()
	m := recv(t, s)
	if v, _ := m.Get("RELOADING"); v != "1" {
		t.Errorf("got %q, want RELOADING=1", m.Text)
	}
	v, _ := m.Get("MONOTONIC_USEC")
	if usec, err := strconv.ParseInt(v, 10, 64); err != nil || usec < before || usec > after {
		t.Errorf("MONOTONIC_USEC = %q, want %d to %d", v, before, after)
	}
}

func TestNotifyStatusText(t *testing.T) {
	long := strings.Repeat("ü", 300) // 600 bytes
	tests := []struct{ name, in, want string }{
		{"plain", "3 connections", "3 connections"},
		{"a newline would begin an assignment", "a\nREADY=1", "a READY=1"},
		{"carriage return", "a\rb", "a b"},
		{"a zero byte loses the message", "a\x00b", "a b"},
		{"not UTF-8", "a\xff\xfeb", "a\ufffd\ufffdb"},
		{"cut between characters", "x" + long, "x" + long[:510]},
		{"exactly the cap", long[:512], long[:512]},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := string(appendStatus(nil, tt.in))
			if got != "STATUS="+tt.want {
				t.Errorf("appendStatus(%.20q) = %q, want STATUS= and %q", tt.in, got, tt.want)
			}
		})
	}
}

// FuzzNotifyStatus: whatever the text, PID 1 sees one assignment.
func FuzzNotifyStatus(f *testing.F) {
	f.Add("ok\nREADY=1\x00\xff")
	f.Add(strings.Repeat("\xf0\x9f\x9a\xb0", 200))
	f.Fuzz(func(t *testing.T, s string) {
		got := string(appendStatus(nil, s))
		text, ok := strings.CutPrefix(got, "STATUS=")
		if !ok || strings.ContainsAny(text, "\n\x00") || !utf8.ValidString(text) || len(text) > maxStatus {
			t.Errorf("appendStatus(%q) = %q", s, got)
		}
	})
}

// TestNotifyNil: the code of a process that nobody supervises needs no if.
func TestNotifyNil(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	n, err := NewNotifier()
	if n != nil || err != nil {
		t.Fatalf("NewNotifier() = %v, %v, want nil, nil", n, err)
	}
	err = errors.Join(n.Ready("x"), n.Reloading(), n.Stopping("x"), n.Status("x"), n.Watchdog(),
		n.ExtendTimeout(1), n.Failed(unix.EIO, "x"), n.Barrier(0), n.Close())
	if err != nil {
		t.Error(err)
	}
}

func TestNewNotifier(t *testing.T) {
	abstract := listenNotify(t, "@penstock-notify-"+strconv.Itoa(os.Getpid()))
	tests := []struct {
		name, socket string
		err          error
	}{
		{"abstract", abstract.Path, nil},
		{"missing", filepath.Join(sdtest.ShortDir(t), "none"), fs.ErrNotExist},
		{"vsock, of a virtual machine", "vsock:2:9999", errors.ErrUnsupported},
		{"relative", "notify", errors.ErrUnsupported},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("NOTIFY_SOCKET", tt.socket)
			n, err := NewNotifier()
			if !errors.Is(err, tt.err) {
				t.Fatalf("NewNotifier() = %v, want %v", err, tt.err)
			}
			if _, set := os.LookupEnv("NOTIFY_SOCKET"); set {
				t.Error("NOTIFY_SOCKET is still set: a child could speak for us")
			}
			if err == nil {
				if err := n.Ready(""); err != nil {
					t.Error(err)
				}
				if err := errors.Join(n.Close(), n.Close()); err != nil {
					t.Error("close twice:", err)
				}
			}
		})
	}
	if got := recv(t, abstract).Text; got != "READY=1" {
		t.Errorf("abstract socket got %q", got)
	}
}

// TestNotifyFullDropsWhatCanBeDropped: while PID 1 does not read, a status and
// a watchdog ping are given up at once and without an error.
func TestNotifyFullDropsWhatCanBeDropped(t *testing.T) {
	n, s := notifier(t)
	if _, err := s.Fill(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := errors.Join(n.Status("busy"), n.Watchdog()); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took >= patience { // each of them would take that
		t.Errorf("took %v", took)
	}
	if got := drain(t, s); got != nil {
		t.Errorf("received %q, want nothing", got)
	}
}

// TestNotifyFullWaitsForReady: READY=1 goes out as soon as there is room, and
// is an error, not a hang, when there is none.
func TestNotifyFullWaitsForReady(t *testing.T) {
	n, s := notifier(t)
	if _, err := s.Fill(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := n.Ready(""); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("Ready() = %v, want %v", err, unix.EAGAIN)
	}
	if took := time.Since(begin); took < patience || took > patience+patient {
		t.Errorf("gave up after %v, want %v", took, patience)
	}

	done := make(chan error, 1)
	go func() {
		err := n.Ready("late")
		for errors.Is(err, unix.EAGAIN) { // the reader below has yet to begin
			err = n.Ready("late")
		}
		done <- err
	}()
	if _, err := s.WaitFor("READY=1", patient); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestNotifySocketReplaced: a container manager that is restarted opens its
// socket again at the same path.
func TestNotifySocketReplaced(t *testing.T) {
	n, s := notifier(t)
	s.Close()
	os.Remove(s.Path)
	if err := n.Ready(""); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("with nobody there: Ready() = %v, want %v", err, unix.ECONNREFUSED)
	}
	s2 := listenNotify(t, s.Path)
	if err := n.Ready(""); err != nil {
		t.Fatal(err)
	}
	if got := recv(t, s2).Text; got != "READY=1" {
		t.Errorf("got %q", got)
	}
}

// TestBarrier: a barrier returns when the messages before it were read and the
// descriptor was closed, not sooner, and gives up in time.
func TestBarrier(t *testing.T) {
	n, s := notifier(t)
	done := make(chan error, 1)
	if err := n.Stopping(""); err != nil {
		t.Fatal(err)
	}
	go func() { done <- n.Barrier(patient) }()
	if got := recv(t, s).Text; got != "STOPPING=1" {
		t.Errorf("first message %q", got)
	}
	m := recv(t, s)
	if m.Text != "BARRIER=1" || len(m.FDs) != 1 {
		t.Fatalf("got %q with %d descriptors, want BARRIER=1 alone with one", m.Text, len(m.FDs))
	}
	select {
	case err := <-done:
		t.Errorf("returned before the descriptor was closed: %v", err)
	default:
	}
	m.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}

	if err := n.Barrier(time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("nobody closes: Barrier() = %v, want %v", err, os.ErrDeadlineExceeded)
	}
	drain(t, s)
	if _, err := s.Fill(); err != nil {
		t.Fatal(err)
	}
	if err := n.Barrier(time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("no room: Barrier() = %v, want %v", err, os.ErrDeadlineExceeded)
	}
}

func TestNotifyWatchdogDoesNotAllocate(t *testing.T) {
	n, s := notifier(t)
	drainFD := s
	got := testing.AllocsPerRun(5, func() {
		if err := n.Watchdog(); err != nil {
			t.Fatal(err)
		}
	})
	drain(t, drainFD)
	if got != 0 {
		t.Errorf("%v allocations a ping", got)
	}
}

func TestWatchdogInterval(t *testing.T) {
	tests := []struct {
		name, usec, pid string
		want            time.Duration
		fails           bool
	}{
		{"not set", "", "", 0, false},
		{"for us", "20000000", "7", 20 * time.Second / 3, false},
		{"for nobody in particular", "3000000", "", time.Second, false},
		{"inherited", "20000000", "8", 0, false},
		{"an hour, beyond 32 bits of microseconds", "3600000000", "7", 20 * time.Minute, false},
		{"too short to keep", "1", "7", time.Millisecond, false},
		{"zero", "0", "7", 0, true},
		{"negative", "-1", "7", 0, true},
		{"no number", "20s", "7", 0, true},
		{"no process", "20000000", "x", 0, true},
		{"more than a duration holds", strconv.FormatUint(math.MaxUint64-1, 10), "7", 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := watchdogInterval(tt.usec, tt.pid, 7)
			if got != tt.want || (err != nil) != tt.fails {
				t.Errorf("watchdogInterval(%q, %q) = %v, %v, want %v", tt.usec, tt.pid, got, err, tt.want)
			}
		})
	}
}

func TestWatchdogIntervalUnsets(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "3000000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	if d, err := WatchdogInterval(); d != time.Second || err != nil {
		t.Errorf("WatchdogInterval() = %v, %v, want 1s", d, err)
	}
	if d, err := WatchdogInterval(); d != 0 || err != nil {
		t.Errorf("second WatchdogInterval() = %v, %v, want 0: a child must not ping for us", d, err)
	}
}
