// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Exit on idle: a process that the service manager can start again need not
// stay when nobody is there.
//
//	ready, or the last client left ─► exit_idle ─► busy? ──► wait for that to end
//	                                                 │ no
//	                                                 ▼
//	                                      clients in a backlog? ──► exit_idle again
//	                                                 │ none
//	                                                 ▼
//	                                      STOPPING=1 and the usual end
//
// Nobody is lost on the way: what has been accepted counts as busy, nothing is
// accepted between the look at the backlogs and the close of the listeners,
// which are the same turn of the loop, and a client that comes later waits in
// the service manager's copy of the listener for the next process. The look comes
// before STOPPING=1, because that cannot be taken back: a unit that has said
// it is killed at TimeoutStopSec= even if it says READY=1 again, and from
// version 259 on systemd ignores the latter (sd_notify(3)).
//
// The timer is armed at start as well. systemd-socket-proxyd arms its own only
// when a connection closes, so one that was started without a client, by hand
// or for one that had gone again, stays for ever.

// rested begins a time without clients, if there are none and it matters.
func (d *Daemon) rested() {
	d.disarm(timerIdle)
	after := d.cfg.Limits.ExitIdle
	// A managed process never binds, so all of its sockets stay open without
	// it. One that was started by hand would just be gone. A client that waits at
	// a socket that no service wants would have the manager start the next
	// process as soon as this one has gone, and so on every second.
	if after == 0 || !d.env.Managed || d.strays || d.clients() > 0 || d.life.phase == stopping {
		return
	}
	d.arm(timerIdle, after)
}

// exitIfIdle ends the process when nobody needs it.
func (d *Daemon) exitIfIdle() {
	switch {
	case d.clients() > 0 || d.life.phase != ready:
		return // the last client's end, or the reload's, begins anew
	case d.loop.Stats().Queued > 0 || d.awaited():
		// A handler's program has not read all of what clients that left had
		// for it; or somebody has just come.
		d.rested()
		return
	}
	d.log.Idle(d.cfg.Limits.ExitIdle)
	d.trigger(idled)
}

// awaited reports whether a client waits in the backlog of a listener. It is
// asked of the kernel and not of the loop, which may not have been told yet,
// and by poll(2) and not accept(2): a client that stays in the backlog cannot
// be lost, whatever comes next. When it cannot be asked, somebody may be there.
func (d *Daemon) awaited() bool {
	var fds []unix.PollFd
	for _, l := range d.listeners() {
		if !l.dead() {
			fds = append(fds, unix.PollFd{Fd: int32(l.FD), Events: unix.POLLIN})
		}
	}
	n, err := unix.Poll(fds, 0)
	return n > 0 || err != nil
}

// why tells the service manager what the end is about.
func (d *Daemon) why(t trigger) string {
	if t == idled {
		return fmt.Sprintf("stopping, nobody came for %v", d.cfg.Limits.ExitIdle)
	}
	return fmt.Sprintf("stopping, %d connections to drain", d.clients())
}
