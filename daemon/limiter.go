// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"log/slog"
	"time"

	"penstock/evloop"
)

// A peer can cause a record by connecting, so records about peers are
// limited: some for each kind of event and window, and at the window's end one
// that says how many were held back. Sampling every n-th was the alternative;
// it hides the rare events, and those are the ones somebody searches for.
//
// A window begins with an event and its timer is armed only when something is
// held back, so a quiet daemon has no timer of this kind.
const (
	limitWindow = 10 * time.Second
	limitBurst  = 10 // records for each key and window; a flood costs one a second
)

// A limitKey names what is counted together. Keys come from the code and the
// configuration, never from a peer, so the number of windows is bounded.
type limitKey struct {
	service, event string
	level          slog.Level // of the records, and of the one for what was held back
}

// limiter is used by the loop's goroutine only.
type limiter struct {
	now      func() evloop.Time
	schedule func(evloop.Timer)
	report   func(key limitKey, held int) // at the end of a window
	windows  []window
	index    map[limitKey]int // into windows
}

type window struct {
	key          limitKey
	began        evloop.Time
	passed, held int
}

func newLimiter(loop *evloop.Loop, report func(limitKey, int)) *limiter {
	return &limiter{
		now:      loop.Now,
		schedule: func(t evloop.Timer) { loop.Schedule(t) },
		report:   report,
		index:    make(map[limitKey]int),
	}
}

// allow reports whether an event of this key may be logged now.
func (l *limiter) allow(key limitKey) bool {
	i, ok := l.index[key]
	if !ok {
		i = len(l.windows)
		l.windows = append(l.windows, window{key: key, began: l.now()})
		l.index[key] = i
	}
	w := &l.windows[i]
	if w.held == 0 && l.now().Sub(w.began) >= limitWindow {
		w.began, w.passed = l.now(), 0
	}
	if w.passed < limitBurst {
		w.passed++
		return true
	}
	w.held++
	if w.held == 1 {
		l.schedule(evloop.Timer{Deadline: w.began.Add(limitWindow), Kind: i, Handler: l})
	}
	return false
}

// Expired reports what a window has held back and begins the next one.
func (l *limiter) Expired(_ *evloop.Loop, t evloop.Timer) {
	w := &l.windows[t.Kind]
	held := w.held
	w.began, w.passed, w.held = l.now(), 0, 0
	l.report(w.key, held)
}

// flush reports at exit what is still held back.
func (l *limiter) flush() {
	for _, w := range l.windows {
		if w.held > 0 {
			l.report(w.key, w.held)
		}
	}
}
