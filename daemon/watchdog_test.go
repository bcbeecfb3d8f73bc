// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock/evloop/evlooptest"
	"penstock/systemd"
	"penstock/systemd/sdtest"
)

// notified runs a daemon that has a service manager to talk to.
func notified(t *testing.T, text string, watchdog time.Duration) (*running, *sdtest.Notify) {
	t.Helper()
	n, err := sdtest.ListenNotify(filepath.Join(t.TempDir(), "notify"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	t.Setenv("NOTIFY_SOCKET", n.Path)
	notifier, err := systemd.NewNotifier()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = notifier.Close() })
	d, err := New(parse(t, text), Env{Log: slog.New(slog.DiscardHandler), Notifier: notifier, Watchdog: watchdog})
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, d)
	expect(t, n, "READY=1")
	return r, n
}

func expect(t *testing.T, n *sdtest.Notify, assignment string) sdtest.Message {
	t.Helper()
	m, err := n.WaitFor(assignment, evlooptest.Patience)
	if err != nil {
		t.Fatalf("waiting for %s: %v", assignment, err)
	}
	return m
}

// TestWatchdogStopsWithTheLoop: the watchdog is fed by a loop that comes
// round, and by nobody else. Were it fed by a goroutine of its own, a loop that
// hangs would look healthy for ever.
func TestWatchdogStopsWithTheLoop(t *testing.T) {
	const interval = 10 * time.Millisecond
	r, n := notified(t, fmt.Sprintf("[service.a]\nkind='echo'\nlisten=['%s/s']\n", t.TempDir()), interval)
	for range 3 {
		expect(t, n, "WATCHDOG=1")
	}
	stuck, release := make(chan struct{}), make(chan struct{})
	r.loop.Post(func() {
		close(stuck)
		<-release
	})
	<-stuck
	for { // what it said before
		if _, err := n.Recv(0); err != nil {
			break
		}
	}
	if m, err := n.Recv(30 * interval); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a stuck loop sent %q, %v", m.Text, err)
	}
	close(release)
	expect(t, n, "WATCHDOG=1")
	r.stop(t)
}

// TestDrainAsksForTime: a client may take longer to finish than
// TimeoutStopSec= allows, so the service manager is asked for as long as its
// service gives it, and the watchdog is fed meanwhile.
func TestDrainAsksForTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	r, n := notified(t, fmt.Sprintf("[service.a]\nkind='echo'\ndrain_timeout='1h'\nlisten=['%s']\n", path), 10*time.Millisecond)
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	r.loop.Post(func() { r.advance(terminate) })
	expect(t, n, "STOPPING=1")
	var asked time.Duration
	for asked == 0 {
		m, err := n.Recv(evlooptest.Patience)
		if err != nil {
			t.Fatal(err)
		}
		if usec, ok := strings.CutPrefix(m.Text, "EXTEND_TIMEOUT_USEC="); ok {
			if asked, err = time.ParseDuration(usec + "us"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if least := time.Hour + drainGrace; asked <= least {
		t.Errorf("asked for %v, want more than the %v until the loop gives up", asked, least)
	}
	expect(t, n, "WATCHDOG=1")
	_ = c.Close()
	if err := <-r.done; err != nil {
		t.Errorf("Run = %v", err)
	}
}
