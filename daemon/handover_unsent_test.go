// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/handover"
	"penstock/systemd"
	"penstock/systemd/sdtest"
)

// TestRestartFinishesWhoIsNotQueued: a client whose descriptor the kernel refuses gets
// what is queued for it. The others are in the queue, and do not wait for one that does
// not read.
func TestRestartFinishesWhoIsNotQueued(t *testing.T) {
	path := t.TempDir() + "/s"
	cfg := parse(t, fmt.Sprintf("[service.e]\nkind = 'echo'\nlisten = ['%s']\n", path))
	r, out := runRestartable(t, cfg)
	c := r.stuff(path)
	kernel := r.gone()
	r.do(func() {
		p := r.save()
		r.life.phase = handedOver
		if cut := r.finishUnsent(p, []handover.Unsent{{Index: 0, Err: unix.ETOOMANYREFS}}); cut != 1 || p.fds[0] != -1 {
			t.Errorf("%d clients are finished, and descriptor %d is kept", cut, p.fds[0])
		}
		r.arm(timerGiveUp, time.Minute)
	})
	c.hearsQueued(kernel)
	if err := <-r.done; !errors.Is(err, ErrHandedOver) {
		t.Errorf("Run = %v, want an end with the last client", err)
	}
	wantLine(t, out, "connections not handed over", unix.ETOOMANYREFS.Error())
	wantLine(t, out, "connection cut", "service=e", "reason=handover_incomplete")
}

// TestRestartRefusedLate: a manager may close what it does not keep a moment after it has
// answered. The connections are finished all the same.
func TestRestartRefusedLate(t *testing.T) {
	m, err := sdtest.ListenManager(filepath.Join(sdtest.ShortDir(t), "n"), 4)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	t.Setenv("NOTIFY_SOCKET", m.Path)
	n, err := systemd.NewNotifier()
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	path := t.TempDir() + "/s"
	r, out := runRestartable(t, parse(t, fmt.Sprintf("[service.e]\nkind = 'echo'\nlisten = ['%s']\n", path)))
	c := talk(t, path)
	c.say("x")
	c.hears("x")
	r.do(func() {
		r.env.Managed, r.env.Notifier = true, n
		r.handOverBy(unix.SIGINT)
		r.loop.Post(m.Empty) // behind the function that has the queue stored
	})
	c.hearsEnd()
	if err := <-r.done; err != nil {
		t.Errorf("Run = %v", err)
	}
	wantLine(t, out, "connections not handed over", errNotKept.Error())
}
