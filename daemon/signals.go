// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"os"
	"os/signal"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/process"
)

// caught lists the signals that are handled, see penstock(8).
//
// SIGPIPE is caught and dropped: if a client has gone away, the write to it fails,
// and that is enough. SIGPIPE is not ignored, because a handler's program would
// inherit that, and shells rely on the signal.
//
// SIGINT is what the manager sends for a restart (RestartKillSignal= in
// systemd.kill(5)), and a terminal for a stop. SIGUSR2 would not do for the first:
// until the Go runtime is up, it ends the process with a failure.
var caught = []os.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2, unix.SIGPIPE}

// HoldHangup keeps SIGHUP from ending the process before its Daemon is made and after
// it has ended, which is what the Go runtime does by default. The channel it returns
// is for Env.Hangup: for a signal that comes before New, a reload is owed.
func HoldHangup() <-chan os.Signal {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, unix.SIGHUP)
	return ch
}

// HoldStops keeps SIGTERM and SIGINT from ending the process before its Daemon is made,
// for one that has the connections of a former process: nobody else has them, and they
// are due the end of a stop. The channel it returns is for Env.Stops.
func HoldStops() chan os.Signal {
	ch := make(chan os.Signal, mostSignals)
	signal.Notify(ch, unix.SIGTERM, unix.SIGINT)
	return ch
}

// mostSignals is how many wait for the loop at most.
const mostSignals = 16

// catchSignals has the loop handle signals until release is called. It must be called
// before the first socket is bound, so that a process that is stopped during its
// start removes the files of its sockets, and before READY=1.
func (d *Daemon) catchSignals() (release func()) {
	ch := d.env.Stops
	if ch == nil {
		ch = make(chan os.Signal, mostSignals)
	}
	signal.Notify(ch, caught...)
	if os.Getpid() == 1 {
		signal.Notify(ch, unix.SIGCHLD)
	}
	select {
	case s := <-d.env.Hangup:
		ch <- s
	default:
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for s := range ch {
			if s == unix.SIGTERM || s == unix.SIGINT && !d.env.Managed {
				d.stopAsked.Store(true)
			}
			if s != unix.SIGPIPE {
				d.loop.Post(func() { d.signalled(s.(unix.Signal)) })
			}
		}
	}()
	return sync.OnceFunc(func() {
		signal.Stop(ch)
		close(ch)
		<-ended
	})
}

func (d *Daemon) signalled(s unix.Signal) {
	switch s {
	case unix.SIGINT, unix.SIGUSR2:
		d.restartBy(s)
	case unix.SIGTERM:
		d.stopBy(s)
	case unix.SIGHUP:
		d.advance(hangup)
	case unix.SIGUSR1:
		d.dump()
	case unix.SIGCHLD:
		d.reapOrphans()
	default:
		d.log.SignalIgnored(unix.SignalName(s), nil)
	}
}

// restartBy begins a hand-over if s asks for one and somebody keeps the connections.
func (d *Daemon) restartBy(s unix.Signal) {
	if s == unix.SIGINT && (!d.env.Managed || d.life.phase == stopping) {
		d.stopBy(s)
		return
	}
	d.askNext(func(err error) {
		switch {
		case err == nil:
			d.handOverBy(s)
		case s == unix.SIGINT:
			d.handing.wanted = true
			d.stopBy(s)
		default:
			d.log.SignalIgnored(unix.SignalName(s), err)
		}
	})
}

// stopBy begins the end that a signal has asked for.
func (d *Daemon) stopBy(s unix.Signal) {
	clients := d.clients()
	if s == unix.SIGTERM {
		d.handing.wanted = false // a restart is not what is asked for any more
	}
	d.advance(terminate)
	d.log.Stopping(unix.SignalName(s), clients)
}

// orphansInterval is how soon reapOrphans looks again if it met a program that has
// ended and that the loop has not reaped yet. The kernel does not show other orphans
// before that.
const orphansInterval = 100 * time.Millisecond

// reapOrphans waits for orphaned processes, which PID 1 of a container must do.
func (d *Daemon) reapOrphans() {
	if process.ReapOrphans() {
		d.arm(timerOrphans, orphansInterval)
	}
}
