// SPDX-License-Identifier: Apache-2.0

package faulttest

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/systemd/sdtest"
)

// newJournal plays journald for the daemons of h.
func (h *host) newJournal() *sdtest.Journal {
	h.check(os.MkdirAll(h.path("journald"), 0o755))
	_ = os.Remove(h.path("journald/socket"))
	j, err := sdtest.ListenJournal(h.path("journald/socket"))
	h.check(err)
	h.t.Cleanup(func() { _ = j.Close() })
	h.env = append(h.env, journalEnv+"="+h.path("journald")) // of two, the last one holds
	return j
}

// hears reads records until one has the message.
func (h *host) hears(d *daemon, j *sdtest.Journal, message string) {
	h.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		e, err := j.Recv(time.Second)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		h.check(err)
		if m, _ := e.Get("MESSAGE"); strings.HasPrefix(m, message) {
			return
		}
	}
	h.t.Fatalf("the journal never got %q; standard error:\n%s", message, d.all())
}

// TestJournalFull: nobody reads the journal's socket, from before the start.
// Clients do not notice, nothing spins, and the log goes on when it is read.
func TestJournalFull(t *testing.T) {
	need(t)
	forBackends(t, func(t *testing.T, backend string) {
		h := newHost(t, backend, "")
		j := h.newJournal()
		if n, err := j.Fill(); err != nil || n == 0 {
			t.Fatal(n, err)
		}
		d := h.spawn()
		for range 20 {
			h.serves()
		}
		d.calm()
		h.hears(d, j, "daemon ready") // it was kept
		h.check(d.cmd.Process.Signal(unix.SIGUSR1))
		h.hears(d, j, "state")
		d.stop()
	})
}

// TestJournalRestarted: the socket goes away with whatever it held, and comes
// back as another one at the same place.
func TestJournalRestarted(t *testing.T) {
	need(t)
	forBackends(t, func(t *testing.T, backend string) {
		h := newHost(t, backend, "")
		j := h.newJournal()
		d := h.spawn()
		h.hears(d, j, "daemon ready")
		h.check(j.Close())
		h.serves()
		d.calm()
		j = h.newJournal()
		h.check(d.cmd.Process.Signal(unix.SIGUSR1))
		h.hears(d, j, "state")
		h.serves()
		d.stop()
	})
}
