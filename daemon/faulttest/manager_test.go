// SPDX-License-Identifier: Apache-2.0

package faulttest

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/systemd/sdtest"
)

// A manager plays systemd and its journal, and always reads.
type manager struct {
	notify  *sdtest.Notify
	journal *sdtest.Journal
}

// managedHost is a host whose daemon has a service manager, a journal, and a
// folder of drop-ins.
func managedHost(t *testing.T, backend string) *host {
	h := unitHost(t, backend)
	h.manager = &manager{journal: h.newJournal()}
	var err error
	h.manager.notify, err = sdtest.ListenNotify(h.path("notify"))
	h.check(err)
	t.Cleanup(func() { _ = h.manager.notify.Close() })
	h.env = append(h.env, "NOTIFY_SOCKET="+h.path("notify"), "RUNTIME_DIRECTORY="+h.path("run"))
	h.check(os.Mkdir(h.path("conf.d"), 0o755))
	h.check(os.WriteFile(h.path("conf.d/10.toml"), []byte("[limits]\nconnections = 1000\n"), 0o600))
	return h
}

// follow reads what a daemon sends, until it has ended and all is read: the
// sockets are those of the next one too.
func (m *manager) follow(d *daemon) {
	const look = 100 * time.Millisecond
	read := func(recv func() error) {
		for {
			switch err := recv(); {
			case err == nil:
			case !d.alive():
				return
			case !errors.Is(err, os.ErrDeadlineExceeded):
				d.heard("manager: " + err.Error()) // what journald would refuse
			}
		}
	}
	journal := m.journal
	d.followers.Go(func() {
		read(func() error {
			e, err := journal.Recv(look)
			if text, ok := e.Get("MESSAGE"); ok {
				d.heard(text)
			}
			return err
		})
	})
	d.followers.Go(func() {
		read(func() error {
			msg, err := m.notify.Recv(look)
			msg.Close()
			return err
		})
	})
}

// TestInjectLog has the calls fail by which the daemon speaks to its journal and
// to its manager, or to standard error. No client notices, and records arrive
// again afterwards.
func TestInjectLog(t *testing.T) {
	need(t, "strace")
	play := newSchedule(t, *duration/4)
	for name, l := range map[string]struct {
		host  func(*testing.T, string) *host
		calls []call
	}{"journal": {managedHost, journalCalls}, "stderr": {unitHost, stderrCalls}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := l.host(t, "epoll")
			play.all(t, l.calls, h.backend, func(t *testing.T, i injection) int {
				h.t = t
				return h.injectLog(i)
			})
		})
	}
}

func (h *host) injectLog(i injection) int {
	d := h.start()
	defer d.logIfFailed()
	i.on = d.pipe(i.on)
	s := h.attach(d, i)
	h.serves(i.spares)
	d.nag(unix.SIGHUP)
	h.serves(i.spares)
	hit := s.detach()
	before := len(d.log("(^| )state phase="))
	h.check(d.cmd.Process.Signal(unix.SIGUSR1))
	if !d.says(before+1, "(^| )state phase=") {
		h.t.Error("nothing is logged any more")
	}
	d.calm()
	h.serves(i.spares)
	d.stop()
	return hit
}
