// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Exit on idle: a process that the service manager can start again need not stay
// when it has no clients.
//
//	ready, or the last client left ─► exit_idle ─► busy? ──► wait for that to end
//	                                                 │ no
//	                                                 ▼
//	                                      clients in a backlog? ──► exit_idle again
//	                                                 │ none
//	                                                 ▼
//	                                      STOPPING=1 and the usual end
//
// No client is lost. A client that was accepted makes the process busy. The look at
// the backlogs and the close of the listeners are in one turn of the loop, so no
// client is accepted in between. A client that comes later waits in the service
// manager's copy of the listener for the next process.
//
// The look comes before STOPPING=1, because that cannot be taken back: systemd kills
// a unit that has sent it at TimeoutStopSec=, even if the unit sends READY=1 again,
// and from version 259 on it ignores that READY=1 (sd_notify(3)).
//
// The timer is also armed at the start. systemd-socket-proxyd arms its timer only
// when a connection closes. So it never ends if it was started without a client, by
// hand or for a client that had gone already.

// rested arms the timer of exit_idle anew, if there is no client and the manager can
// start the process again.
func (d *Daemon) rested() {
	d.disarm(timerIdle)
	after := d.cfg.Limits.ExitIdle
	// A managed process never binds, so all its sockets stay open without it. If a
	// process that was started by hand ended, nobody would start it again. If a
	// client waits at a socket that no service wants, the manager would start the
	// next process at once, again and again (d.strays). A source is heard from the boot
	// on, whether there are clients or not (Config.AtBoot). The next process would not
	// know that a service is drained.
	if after == 0 || !d.env.Managed || d.strays || d.cfg.AtBoot() || len(d.closedDoors()) > 0 || d.clients()+d.joins > 0 || d.life.phase == stopping {
		return
	}
	d.arm(timerIdle, after)
}

// exitIfIdle ends the process when nobody needs it.
func (d *Daemon) exitIfIdle() {
	switch {
	case d.clients()+d.joins > 0 || len(d.closedDoors()) > 0 || d.life.phase != ready:
		return // the end of the last client or of the reload arms the timer again
	case d.loop.Stats().Queued > 0 || d.awaited():
		// A handler's program has not yet read all messages of clients that have
		// left, or a client has just come.
		d.rested()
		return
	}
	d.log.Idle(d.cfg.Limits.ExitIdle)
	d.advance(idled)
}

// awaited reports whether a client waits in the backlog of a listener. It asks the
// kernel, because the loop may not know of the client yet. It uses poll(2) and not
// accept(2): a client that stays in the backlog cannot be lost. If poll fails, a
// client may be there, so awaited returns true.
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

// why returns the status line with the reason of the end.
func (d *Daemon) why(t trigger) string {
	if t == idled {
		return fmt.Sprintf("stopping, nobody came for %v", d.cfg.Limits.ExitIdle)
	}
	return fmt.Sprintf("stopping, %d connections to drain", d.clients())
}
