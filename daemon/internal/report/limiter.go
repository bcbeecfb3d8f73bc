// SPDX-License-Identifier: Apache-2.0

package report

import (
	"log/slog"
	"time"

	"penstock/evloop"
)

// A peer can cause a record by connecting, and a program by its output. So such records
// are limited: in each window some of each kind are written, and at the end of the
// window one record says how many were held back. The alternative was to write every
// n-th record. That would hide rare events, and those are the interesting ones.
//
// A window begins with an event and its timer is armed only when something is
// held back, so a quiet daemon has no timer of this kind.
const limitWindow = 10 * time.Second

// An event is what is counted together, of one service.
type event struct {
	name  string
	level slog.Level // of the records, and of the one for what was held back
	burst int        // records in a window
}

// usualBurst is one record a second of a flood.
const usualBurst = 10

// A limitKey names a window. Keys come from the code and the configuration, never
// from a peer, so the number of windows is bounded.
type limitKey struct {
	service string
	event
}

// A Clock is what the limiter needs of the event loop.
type Clock interface {
	Now() evloop.Time
	Schedule(evloop.Timer) evloop.TimerID
}

// limiter is used by the loop's goroutine only.
type limiter struct {
	clock   Clock
	report  func(key limitKey, held int) // at the end of a window
	windows []window
	index   map[limitKey]int // into windows
}

type window struct {
	key          limitKey
	began        evloop.Time
	passed, held int
	armed        bool // the timer that ends it
}

func newLimiter(clock Clock, report func(limitKey, int)) *limiter {
	return &limiter{clock: clock, report: report, index: make(map[limitKey]int)}
}

// allow reports whether an event of this key may be logged now.
func (l *limiter) allow(key limitKey) bool {
	i, ok := l.index[key]
	if !ok {
		i = len(l.windows)
		l.windows = append(l.windows, window{key: key, began: l.clock.Now()})
		l.index[key] = i
	}
	w := &l.windows[i]
	if !w.armed && l.clock.Now().Sub(w.began) >= limitWindow {
		w.began, w.passed = l.clock.Now(), 0
	}
	if w.passed < key.burst {
		w.passed++
		return true
	}
	w.held++
	if !w.armed {
		w.armed = true
		l.clock.Schedule(evloop.Timer{Deadline: w.began.Add(limitWindow), Kind: i, Handler: l})
	}
	return false
}

// Expired reports what a window has held back and begins the next one.
func (l *limiter) Expired(_ *evloop.Loop, t evloop.Timer) {
	w := &l.windows[t.Kind]
	l.flushWindow(w)
	w.began, w.passed, w.armed = l.clock.Now(), 0, false
}

// flush reports at once what is held back of a key, so that the number stands before a
// record that ends the matter, such as the end of a program. The window goes on:
// otherwise a program that ends often could begin a new window each time.
func (l *limiter) flush(key limitKey) {
	if i, ok := l.index[key]; ok {
		l.flushWindow(&l.windows[i])
	}
}

// flushAll reports at exit what is still held back.
func (l *limiter) flushAll() {
	for i := range l.windows {
		l.flushWindow(&l.windows[i])
	}
}

func (l *limiter) flushWindow(w *window) {
	if w.held > 0 {
		held := w.held
		w.held = 0
		l.report(w.key, held)
	}
}
