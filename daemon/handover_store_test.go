// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/evloop/evlooptest"
	"penstock/systemd"
	"penstock/systemd/sdtest"
)

// runSlowlyManaged runs a daemon whose manager reads only when the test does, and asks it
// for a hand-over.
func runSlowlyManaged(t *testing.T, patience time.Duration) (r *running, m *sdtest.Notify, c talker, out *bytes.Buffer) {
	t.Helper()
	before := storePatience
	storePatience = patience
	t.Cleanup(func() { storePatience = before })
	path := filepath.Join(sdtest.ShortDir(t), "n")
	m, err := sdtest.ListenNotify(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	n, err := systemd.NewNotifier()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	socket := t.TempDir() + "/s"
	r, out = runRestartable(t, parse(t, fmt.Sprintf("[service.e]\nkind = 'echo'\nlisten = ['%s']\n", socket)))
	c = talk(t, socket)
	c.say("x")
	c.hears("x")
	r.do(func() {
		r.env.Managed, r.env.Notifier = true, n
		r.handOverBy(unix.SIGINT)
	})
	return r, m, c, out
}

// received returns the next message that has the variable, with the descriptor in it.
func received(t *testing.T, m *sdtest.Notify, variable string) sdtest.Message {
	t.Helper()
	for {
		msg, err := m.Recv(evlooptest.Patience)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := msg.Get(variable); ok && len(msg.FDs) == 1 {
			return msg
		}
		msg.Close()
	}
}

// TestRestartWaitsForTheManager: clients are served while the manager does not read, and
// are handed over when it has.
func TestRestartWaitsForTheManager(t *testing.T) {
	r, m, c, out := runSlowlyManaged(t, evlooptest.Patience)
	r.until("the queue", func() bool { return r.handing.barrier != nil })
	c.say("y")
	c.hears("y")
	stored := received(t, m, "FDSTORE")
	c.say("z")
	c.hears("z")
	answer := received(t, m, "BARRIER")
	answer.Close()
	if err := <-r.done; !errors.Is(err, ErrHandedOver) {
		t.Fatalf("Run = %v\n%v", err, out)
	}
	r.end()
	wantLine(t, out, "connections handed over", "conns=1")
	r, _ = runRestartable(t, parse(t, fmt.Sprintf("[service.e]\nkind = 'echo'\nlisten = ['%s/s']\n", t.TempDir())), stored.FDs[0])
	c.say("w")
	c.hears("w")
	r.stop(t)
}

// TestRestartWithoutAnAnswer: a manager that does not read is given up, and clients get
// the end of a stop; so they do if a stop is asked for meanwhile.
func TestRestartWithoutAnAnswer(t *testing.T) {
	t.Run("given up", func(t *testing.T) {
		r, _, c, out := runSlowlyManaged(t, 0)
		c.hearsEnd()
		if err := <-r.done; !errors.Is(err, ErrNotHandedOver) {
			t.Errorf("Run = %v", err)
		}
		wantLine(t, out, "connections not handed over", os.ErrDeadlineExceeded.Error())
	})
	t.Run("stopped", func(t *testing.T) {
		r, _, c, out := runSlowlyManaged(t, evlooptest.Patience)
		r.until("the queue", func() bool { return r.handing.barrier != nil })
		r.do(func() { r.signalled(unix.SIGTERM) })
		c.hearsEnd()
		if err := <-r.done; err != nil {
			t.Errorf("Run = %v", err)
		}
		r.handing.queue.Close() // as the end of the process does
		wantLine(t, out, "daemon stopping", "signal=SIGTERM")
	})
}
