// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"slices"
	"time"
)

// The end of the process. None of its stages blocks the loop, because clients are
// served until the last one is done:
//
//	terminate ─► listeners closed ─► endpoints retire ─► programs end ─► loop stops
//	                                 drain_timeout       drainGrace
//	           a second signal, or the time is over ───────────────────► at once

const (
	// drainGrace is added to the longest drain_timeout. It is the time of a handler's
	// program after its last client: 2 s until SIGTERM, 2 s more until SIGKILL, 1 s
	// for output that its children hold open, and some reserve.
	drainGrace = 6 * time.Second
	// exitGrace is the time for what comes after the loop: delivering records to a
	// busy journal, and the end of the process.
	exitGrace = 3 * time.Second
)

// beginDrain stops accepting and lets every client finish. When it closes an
// inherited listener, no client is refused: a client that connects now waits in the
// service manager's copy of the socket for the next start.
func (d *Daemon) beginDrain(status string) {
	patience := time.Duration(0)
	for _, s := range d.cfg.Services {
		patience = max(patience, s.DrainTimeout)
	}
	patience += drainGrace
	d.tell(d.env.Notifier.Stopping(status))
	// TimeoutStopSec= may be shorter; the process cannot know. If it is longer, the
	// request does no harm, because systemd never shortens the time.
	d.tell(d.env.Notifier.ExtendTimeout(patience + exitGrace))
	d.disarm(timerGiveUp) // of a hand-over that this stop has overtaken
	d.arm(timerGiveUp, patience)
	d.control.deafen()
	for _, l := range d.listeners() {
		l.close()
	}
	for _, ep := range d.ordered() {
		delete(d.endpoints, ep.conf.Name)
		ep.retire()
	}
	d.stopIfDrained()
}

// emptied is called when the last client of a retired endpoint is gone.
func (d *Daemon) emptied(ep *endpoint) {
	ep.stop()
	d.retired = slices.DeleteFunc(d.retired, func(e *endpoint) bool { return e == ep })
	d.stopIfDrained()
}

// stopIfDrained goes on with a hand-over, or ends the loop, when no client and no
// program is left. A handler's program is told to end when its last client has gone. It
// may run on after it has closed its pipes, and only at its end is it known which
// messages it has not answered. So the daemon waits for the end of the process.
func (d *Daemon) stopIfDrained() {
	if d.life.phase == handedOver {
		if d.timers[timerGiveUp].IsZero() || len(d.retired) == 0 { // nobody is to be finished
			d.loop.Stop()
		}
		return
	}
	d.lookPrepared()
	if d.life.phase == stopping && len(d.endpoints)+len(d.retired)+d.ending == 0 {
		d.advance(drained)
	}
}

// release closes what is still open when New fails or Run returns.
func (d *Daemon) release() {
	if d.life.phase != handedOver || !d.byExec() { // see LastStop
		d.quiet()
	}
	d.control.deafen()
	for _, l := range d.listeners() {
		if d.life.phase == handedOver {
			l.leave()
		} else {
			l.close()
		}
	}
	d.endBarrier()
	d.loop.Close() // ends the connections that are left; each is logged
	for _, ep := range d.all() {
		ep.stop()
	}
	d.log.Flush()
	if d.life.phase == stopping {
		d.log.Stopped(d.cut)
	}
}
