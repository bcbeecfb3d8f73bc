// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
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
	defer r.LastStop()
	if err := <-r.done; !errors.Is(err, ErrHandedOver) {
		t.Errorf("Run = %v, want an end with the last client", err)
	}
	wantLine(t, out, "connections not handed over", unix.ETOOMANYREFS.Error())
	wantLine(t, out, "connection cut", "service=e", "reason=handover_incomplete")
}

// TestRestartCutsHalves: if the kernel refuses one half of a pair, that is reset: what its
// other side says from then on goes nowhere.
func TestRestartCutsHalves(t *testing.T) {
	for half := range 2 {
		_, r, links := linked(t, 1)
		var refused talker
		r.do(func() {
			p := r.save()
			c, _ := readClient(p.Conns[half].Data)
			if refused = links[0].near; c.companion {
				refused = links[0].far
			}
			r.life.phase = handedOver
			r.finishUnsent(p, []handover.Unsent{{Index: half, Err: unix.ETOOMANYREFS}})
			p.closeLeft()
			r.arm(timerGiveUp, time.Minute)
			r.stopIfDrained()
		})
		refused.wasReset()
		if err := <-r.done; !errors.Is(err, ErrHandedOver) {
			t.Errorf("Run = %v", err)
		}
		r.LastStop()
	}
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
		var refuse func()
		refuse = func() { // in the turn in which the answer comes
			if r.timers[timerStored].IsZero() {
				r.loop.Post(refuse)
				return
			}
			m.Empty()
		}
		r.loop.Post(refuse)
	})
	c.hearsEnd()
	if err := <-r.done; !errors.Is(err, ErrNotHandedOver) {
		t.Errorf("Run = %v, want that another process is expected", err)
	}
	wantLine(t, out, "connections not handed over", errNotKept.Error())
}

// TestRestartWithoutRecords: when the kernel has no room for the records, every client gets
// what is queued for it, and the end of a stop. The log says why.
func TestRestartWithoutRecords(t *testing.T) {
	path := t.TempDir() + "/s"
	r, out := runRestartable(t, parse(t, fmt.Sprintf("[service.e]\nkind = 'echo'\nlisten = ['%s']\n", path)))
	c, other := r.stuff(path), talk(t, path)
	other.say("x")
	other.hears("x")
	kernel := r.gone()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	allow := func() {
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
			t.Error(err)
		}
	}
	signal.Ignore(unix.SIGXFSZ) // the call fails then
	defer signal.Reset(unix.SIGXFSZ)
	defer allow()
	r.do(func() {
		none := old
		none.Cur = 1
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &none); err != nil {
			t.Error(err)
		}
		r.handOverBy(unix.SIGUSR2)
	})
	other.hearsEnd()
	allow()
	c.hearsQueued(kernel)
	if err := <-r.done; err != nil {
		t.Errorf("Run = %v, want the end of a stop", err)
	}
	wantLine(t, out, "connections not handed over", unix.EFBIG.Error())
}

// TestRestartEndsAsARestart: what a manager has asked for as a restart ends with the
// status of one, although nothing can be handed over. A stop that is asked for later is a
// stop.
func TestRestartEndsAsARestart(t *testing.T) {
	for _, tt := range []struct {
		name    string
		managed bool
		signals []unix.Signal
		want    error
	}{
		{"refused", true, []unix.Signal{unix.SIGINT}, ErrNotHandedOver},
		{"asked for twice", true, []unix.Signal{unix.SIGINT, unix.SIGINT}, ErrNotHandedOver},
		{"a stop", true, []unix.Signal{unix.SIGTERM}, nil},
		{"then a stop", true, []unix.Signal{unix.SIGINT, unix.SIGTERM}, nil},
		{"behind a stop", true, []unix.Signal{unix.SIGTERM, unix.SIGINT}, nil},
		{"of a terminal", false, []unix.Signal{unix.SIGINT}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := t.TempDir() + "/s"
			r, _ := runRestartable(t, parse(t, fmt.Sprintf("[service.e]\nkind = 'echo'\nlisten = ['%s']\n", path)))
			c := talk(t, path)
			c.say("x")
			c.hears("x")
			r.do(func() {
				r.env.Managed = tt.managed // without a notifier there is nobody who keeps connections
				for _, s := range tt.signals {
					r.signalled(s)
				}
			})
			c.hearsEnd()
			if err := <-r.done; !errors.Is(err, tt.want) {
				t.Errorf("Run = %v, want %v", err, tt.want)
			}
		})
	}
}

// TestStopBehindTheLoop: a request to stop that comes after the loop has handed over does
// not end the process, which still has the connections, but is for the next one.
func TestStopBehindTheLoop(t *testing.T) {
	for _, s := range []unix.Signal{unix.SIGTERM, unix.SIGINT} {
		path := t.TempDir() + "/s"
		cfg := parse(t, fmt.Sprintf("[service.e]\nkind = 'echo'\nlisten = ['%s']\n", path))
		r, _ := runRestartable(t, cfg)
		c := talk(t, path)
		c.say("x")
		c.hears("x")
		r.do(func() { r.handOverBy(unix.SIGUSR2) })
		if err := <-r.done; !errors.Is(err, ErrHandedOver) {
			t.Fatalf("Run = %v", err)
		}
		came := make(chan os.Signal, 1)
		signal.Notify(came, s)
		if err := unix.Kill(os.Getpid(), s); err != nil {
			t.Fatal(err)
		}
		<-came // the daemon's channel has it as well, or gets it before the end of the catching
		if !r.LastStop() {
			t.Errorf("%v is lost", s)
		}
		signal.Stop(came)
		r, _ = runRestartable(t, cfg, r.end())
		c.say("y")
		c.hears("y")
		r.stop(t)
	}
}
