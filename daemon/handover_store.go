// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"os"
	"time"

	"penstock/daemon/internal/handover"
	"penstock/evloop"
)

// The queue is with the service manager before anything is frozen, and clients are served
// until then:
//
//	store ─► FDSTORE=1, BARRIER=1 ─► the answer ─► storeGrace ─► stored
//	         │ not sent              │ none in       │
//	         │                       │ storePatience │ refused
//	         └───────────────────────┴───────────────┴─► notHandedOver
//
// The answer is a hang-up of the barrier's pipe, and the loop watches that. Waiting for it
// here was simpler. But a manager that reads its units again does not answer for a second
// on a small board, and all clients would have waited with us.

// storePatience bounds the wait for a manager that does not read. A test changes it.
var storePatience = 2 * time.Second

// storeGrace is how long the clients are served on after the queue was stored. A manager
// that refuses it says nothing, and since systemd 254 another process closes it for the
// manager, after the answer to BARRIER=1. Seen on 257: 27 ms after it.
const storeGrace = 250 * time.Millisecond

// store makes the queue and has the service manager keep it. Nothing is frozen yet.
func (d *Daemon) store() {
	d.disarm(timerGiveUp)
	switch err := d.openQueue(); {
	case err != nil:
		d.notHandedOver(err)
	case d.byExec():
		d.advance(stored)
	case d.handing.barrier == nil:
		d.answered()
	default:
		d.arm(timerBarrier, storePatience)
	}
}

func (d *Daemon) openQueue() error {
	q, err := handover.NewQueue()
	if err != nil {
		return err
	}
	if d.handing.queue = q; d.byExec() {
		return nil
	}
	if err := d.env.Notifier.Store(QueueName, q.Reader()); err != nil {
		return err
	}
	return d.beginBarrier()
}

// A barrier waits until the manager has read what was sent to it.
type barrier struct {
	d     *Daemon
	watch *evloop.Watch
}

func (d *Daemon) beginBarrier() error {
	fd, err := d.env.Notifier.BeginBarrier()
	if err != nil || fd < 0 {
		return err
	}
	b := &barrier{d: d}
	if b.watch, err = d.loop.Watch(fd, 0, b); err != nil {
		closeFD(fd)
		return err
	}
	d.handing.barrier = b
	return nil
}

// Ready hears the answer: nothing else is reported of a pipe to which nobody writes.
func (b *barrier) Ready(*evloop.Watch, uint32) {
	d := b.d
	d.endBarrier()
	d.disarm(timerBarrier)
	if d.life.phase == storing { // and no stop has overtaken it
		d.answered()
	}
}

// endBarrier waits for no answer any more.
func (d *Daemon) endBarrier() {
	if b := d.handing.barrier; b != nil {
		d.handing.barrier = nil
		b.watch.Close()
		closeFD(b.watch.FD())
	}
}

// answered is called when the manager has read the queue.
func (d *Daemon) answered() {
	d.handing.queue.Release()
	if err := d.kept(); err != nil {
		d.notHandedOver(err)
		return
	}
	d.arm(timerStored, storeGrace)
}

// unanswered gives up a manager that does not read.
func (d *Daemon) unanswered() {
	if d.life.phase == storing {
		d.notHandedOver(fmt.Errorf("keep the queue: the service manager does not answer: %w", os.ErrDeadlineExceeded))
	}
	d.endBarrier()
}
