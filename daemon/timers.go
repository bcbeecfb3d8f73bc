// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"time"

	"penstock/evloop"
)

// A timerKind names one of the daemon's own timers. There is one of each kind, and
// only Daemon.timers says whether it is armed.
type timerKind int

const (
	timerStatus timerKind = iota
	timerWatchdog
	timerGiveUp
	timerBarrier // while the manager has not read the queue of a hand-over
	timerStored  // while it may still refuse the queue
	timerFlush
	timerIdle // while there is no client and exit_idle is set
	timerReading
	timerVanished
	timerOrphans

	timerKinds = timerOrphans + 1
)

// arm has the timer expire after the given time, unless it is armed already.
func (d *Daemon) arm(kind timerKind, after time.Duration) {
	if d.timers[kind].IsZero() {
		d.timers[kind] = d.loop.Schedule(evloop.Timer{Deadline: d.loop.Now().Add(after), Kind: int(kind), Handler: d})
	}
}

// disarm stops the timer, if it is armed.
func (d *Daemon) disarm(kind timerKind) {
	d.loop.Cancel(d.timers[kind])
	d.timers[kind] = evloop.TimerID{}
}

// Expired does what the expired timer is for.
func (d *Daemon) Expired(_ *evloop.Loop, t evloop.Timer) {
	kind := timerKind(t.Kind)
	d.timers[kind] = evloop.TimerID{}
	switch kind {
	case timerStatus:
		d.sendStatus()
	case timerWatchdog:
		d.feedWatchdog()
	case timerGiveUp:
		d.giveUp()
	case timerBarrier:
		d.unanswered()
	case timerStored:
		d.loop.Post(func() { d.advance(stored) }) // connections are taken out between two turns
	case timerFlush:
		d.flushLog()
	case timerOrphans:
		d.reapOrphans()
	case timerIdle:
		d.exitIfIdle()
	case timerReading:
		d.readTooLong()
	case timerVanished:
		d.findVanished()
	}
}

// giveUp waits no longer for those who are to finish.
func (d *Daemon) giveUp() {
	switch d.life.phase {
	case handedOver:
		d.loop.Stop()
	case leaving:
		d.advance(prepared)
	default:
		d.advance(terminate)
	}
}

// feedWatchdog tells the service manager that the loop works. It is called by a timer
// of the loop, so a loop that hangs does not call it.
func (d *Daemon) feedWatchdog() {
	if d.env.Watchdog > 0 {
		d.tell(d.env.Notifier.Watchdog())
		d.arm(timerWatchdog, d.env.Watchdog)
	}
}
