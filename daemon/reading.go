// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"time"

	"penstock/daemon/internal/config"
	"penstock/evloop"
)

// A reading is one attempt to read the files, on a goroutine of its own. That
// goroutine pauses every few kilobytes, since there is only one thread to run
// Go code on and clients wait for the loop. It may never end: the card or the
// server that holds the file may hang. So a reading can be given up:
//
//	SIGTERM          at once
//	a later SIGHUP   if the reading has gone on for impatience, to read anew
//	readingPatience  whatever it is doing
//
// The reading is told to end, and does so at its next pause. One that hangs in
// the kernel does not: after readingPatience the reload is refused all the same.
// While it still hangs, each further reload is refused at once, so that there is
// never more than one.
type reading struct {
	began  evloop.Time
	cancel context.CancelCauseFunc
	lost   bool // nobody waits for the result any more
}

const (
	// readingPatience is less than `penstock reload` waits for the result, which
	// in turn is less than the unit's TimeoutStartSec=.
	readingPatience = 20 * time.Second
	// impatience keeps SIGHUPs that come in a row from ending every reading
	// before it has read anything.
	impatience = 10 * time.Second
)

var (
	errReadAgain    = errors.New("reading given up, the files are to be read again")
	errReadingSlow  = errors.New("reading the files takes longer than " + readingPatience.String())
	errStillReading = errors.New("an earlier reload still waits for its files")
	errStopping     = errors.New("told to stop")
)

// beginReload reads the files; loaded hears the result.
func (d *Daemon) beginReload() {
	d.tell(d.env.Notifier.Reloading())
	if d.env.Reloading != nil {
		d.env.Reloading()
	}
	if d.reading != nil {
		d.loop.Post(func() { d.loaded(nil, errStillReading) })
		return
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	r := &reading{began: d.loop.Now(), cancel: cancel}
	d.arm(timerReading, readingPatience)
	d.reading = r
	go func() {
		cfg, err := d.env.Load(ctx)
		d.loop.Post(func() { d.read(cfg, err) })
	}()
}

// read takes the result of the reading.
func (d *Daemon) read(cfg *config.Config, err error) {
	r := d.reading
	d.reading = nil
	d.disarm(timerReading)
	r.cancel(nil)
	if !r.lost {
		d.loaded(cfg, err)
	}
}

// readAgain hears of a SIGHUP during a reload: what is read may be out of date.
func (d *Daemon) readAgain() {
	if r := d.reading; r != nil && d.loop.Now().Sub(r.began) >= impatience {
		r.cancel(errReadAgain)
	}
}

// readTooLong ends a reload whose reading has had its time.
func (d *Daemon) readTooLong() {
	r := d.reading
	if r == nil || r.lost {
		return
	}
	r.lost = true
	r.cancel(errReadingSlow)
	d.loaded(nil, errReadingSlow)
}

// readNoMore ends a reading whose result can have no effect any more.
func (d *Daemon) readNoMore() {
	if d.reading != nil {
		d.reading.cancel(errStopping)
	}
}
