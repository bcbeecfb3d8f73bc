// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"slices"
	"time"

	"penstock/daemon/internal/config"
	"penstock/evloop"
)

// A reading is one attempt to read the files, on a goroutine of its own. That
// goroutine pauses every few kilobytes, since Go code has only one thread to run on
// and clients wait for the loop. A reading may never end, because the card or the
// server that holds the file may hang. So the daemon can give it up:
//
//	on SIGTERM              at once
//	on a later SIGHUP       once the reading has gone on for impatience; it starts anew
//	after readingPatience   in any case
//
// The reading is told to end, and does so at its next pause. A reading that hangs in
// the kernel does not; after readingPatience the reload is refused all the same.
// While that reading still hangs, each further reload is refused at once, so there is
// never more than one reading.
type reading struct {
	began  evloop.Time
	cancel context.CancelCauseFunc
	lost   bool // nobody waits for the result any more
}

const (
	// readingPatience is shorter than the time that `penstock reload` waits for the
	// result, and that time is shorter than TimeoutStartSec= of the unit.
	readingPatience = 20 * time.Second
	// impatience is the time for which a later SIGHUP does not end a reading. Without
	// it, SIGHUPs in quick succession would end every reading before it has read
	// anything.
	impatience = 10 * time.Second
)

var (
	errReadAgain    = errors.New("reading given up, the files are to be read again")
	errReadingSlow  = errors.New("reading the files takes longer than " + readingPatience.String())
	errStillReading = errors.New("an earlier reload still waits for its files")
	errStopping     = errors.New("told to stop")
)

// beginReload has the files read; loaded is called with the result.
func (d *Daemon) beginReload() {
	d.readings++
	d.tell(d.env.Notifier.Reloading())
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

// An owedResult is that of a reload, for which somebody waits.
type owedResult struct {
	reading uint64 // or a later one
	then    func(status string, err error)
}

// reloadThen has the files read, and calls then with the result and the status line. A
// reading that is under way may have read older files, so the result is that of one that
// begins from now on. then is not called if the daemon stops before.
func (d *Daemon) reloadThen(then func(status string, err error)) {
	d.owed = append(d.owed, owedResult{d.readings + 1, then})
	d.advance(hangup)
}

// tellResult passes the result of the latest reading on to those who wait for it.
func (d *Daemon) tellResult(err error) {
	status := d.status()
	d.owed = slices.DeleteFunc(d.owed, func(w owedResult) bool {
		if w.reading > d.readings {
			return false
		}
		w.then(status, err)
		return true
	})
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

// readAgain is called for a SIGHUP during a reload: the files may have changed since
// they were read.
func (d *Daemon) readAgain() {
	if r := d.reading; r != nil && d.loop.Now().Sub(r.began) >= impatience {
		r.cancel(errReadAgain)
	}
}

// readTooLong refuses a reload whose reading has taken longer than readingPatience.
func (d *Daemon) readTooLong() {
	r := d.reading
	if r == nil || r.lost {
		return
	}
	r.lost = true
	r.cancel(errReadingSlow)
	d.loaded(nil, errReadingSlow)
}

// readNoMore ends a reading whose result is not needed any more.
func (d *Daemon) readNoMore() {
	if d.reading != nil {
		d.reading.cancel(errStopping)
	}
}
