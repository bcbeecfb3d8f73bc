// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"slices"
	"time"
)

// The end. Nothing of it blocks the loop, since clients are being served until
// the last one is done:
//
//	terminate ─► listeners closed ─► endpoints retire ─► programs end ─► loop stops
//	                                 drain_timeout       drainGrace
//	           a second signal, or the time is over ───────────────────► at once

const (
	// drainGrace is added to the longest drain_timeout, which every connection
	// keeps by itself: it is for a handler's program, which has 2 s until
	// SIGTERM, 2 s more until SIGKILL, and 1 s for output that others hold open.
	drainGrace = 6 * time.Second
	// exitGrace is for what comes after the loop: records that wait for a busy
	// journal, and the end of the process.
	exitGrace = 3 * time.Second
)

// beginDrain stops accepting and lets every client finish. Closing an
// inherited listener refuses nobody: a client that connects now waits in the
// service manager's copy for the next start.
func (d *Daemon) beginDrain(status string) {
	patience := time.Duration(0)
	for _, s := range d.cfg.Services {
		patience = max(patience, s.DrainTimeout)
	}
	patience += drainGrace
	d.tell(d.env.Notifier.Stopping(status))
	// Whether TimeoutStopSec= is shorter is not known here, and asking for less
	// than it allows takes nothing away: systemd only ever moves the time on.
	d.tell(d.env.Notifier.ExtendTimeout(patience + exitGrace))
	d.arm(timerGiveUp, patience)
	for _, l := range d.listeners() {
		l.close()
	}
	for _, ep := range d.ordered() {
		delete(d.endpoints, ep.conf.Name)
		ep.retire()
	}
	d.stopIfDrained()
}

// emptied hears that the last client of a retired endpoint is gone.
func (d *Daemon) emptied(ep *endpoint) {
	ep.stop()
	d.retired = slices.DeleteFunc(d.retired, func(e *endpoint) bool { return e == ep })
	d.stopIfDrained()
}

// stopIfDrained ends the loop when nobody is left on it. After the clients a
// handler's program may be: it was told to end when its last client had gone.
// That its pipes have closed is not its end: it may live on without them, and
// what it leaves unanswered is known when it is dead.
func (d *Daemon) stopIfDrained() {
	if d.life.phase == stopping && len(d.endpoints)+len(d.retired)+d.ending == 0 {
		d.trigger(drained)
	}
}

// release closes what is still open when New fails or Run returns.
func (d *Daemon) release() {
	d.quiet()
	for _, l := range d.listeners() {
		l.close()
	}
	d.loop.Close() // ends the connections that are left; each is logged
	for _, ep := range append(d.ordered(), d.retired...) {
		ep.stop()
	}
	d.log.Flush()
	if d.life.phase == stopping {
		d.log.Stopped(d.cut)
	}
}
