// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/process"
)

// caught lists the signals that are handled, see penstock(8).
//
// SIGPIPE is caught and dropped: a client that went away is an error of its
// write, not of the process. It is not ignored, because that would be
// inherited by a handler's program, and shells rely on it.
//
// SIGUSR2 has no meaning yet and must not kill: it is kept for handing over
// to a successor (RestartKillSignal= in systemd.kill(5)).
var caught = []os.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2, unix.SIGPIPE}

// HoldHangup keeps SIGHUP from ending a process that has yet to make its Daemon,
// and one whose Daemon has ended: the Go runtime catches that signal only to kill
// the process with it. What it returns is for Env.Hangup: a signal that comes
// before New is a reload that is owed.
func HoldHangup() <-chan os.Signal {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, unix.SIGHUP)
	return ch
}

// catchSignals has signals served by the loop until release is called. It
// comes before the first socket is bound, so that a process that is told to
// stop while it starts removes its files, and before READY.
func (d *Daemon) catchSignals() (release func()) {
	ch := make(chan os.Signal, 16)
	signal.Notify(ch, caught...)
	if os.Getpid() == 1 {
		signal.Notify(ch, unix.SIGCHLD)
	}
	select {
	case s := <-d.env.Hangup:
		ch <- s
	default:
	}
	go func() {
		for s := range ch {
			if s != unix.SIGPIPE {
				d.loop.Post(func() { d.signalled(s.(unix.Signal)) })
			}
		}
	}()
	return func() {
		signal.Stop(ch)
		close(ch)
	}
}

func (d *Daemon) signalled(s unix.Signal) {
	switch s {
	case unix.SIGTERM, unix.SIGINT:
		clients := d.clients()
		d.trigger(terminate)
		d.log.Stopping(unix.SignalName(s), clients)
	case unix.SIGHUP:
		d.trigger(hangup)
	case unix.SIGUSR1:
		d.dump()
	case unix.SIGCHLD:
		d.reapOrphans()
	default:
		d.log.SignalIgnored(unix.SignalName(s))
	}
}

// orphansInterval is how soon another look is taken when a program has ended that
// the loop has not reaped yet: it hides the orphans behind it.
const orphansInterval = 100 * time.Millisecond

// reapOrphans does the duty of PID 1 in a container without another one.
func (d *Daemon) reapOrphans() {
	if process.ReapOrphans() {
		d.arm(timerOrphans, orphansInterval)
	}
}
