// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"log/slog"
	"slices"
	"strings"

	"penstock/daemon/internal/control"
)

// Watch shows the log to programs. The daemon's logger has a handler in front of the one
// that writes, which gives each record to both. While nobody watches, that is one more
// call for each record, and a record of a lower level is not made at all.
//
//	report ─► tee ─┬─► journal or stderr, from log.level on
//	               └─► streams, each from its own level on
//
// The latest are kept for who comes later, since most look because of what has happened.
// To read the journal instead would need rights that whoever may look does not have, and
// there is none for a process that was started by hand.

// watchers are those that watch, and what they are told when they come.
type watchers struct {
	list []*logWatch
	past []watched // the oldest first
}

// A watched is a record of the log.
type watched struct {
	event control.Event
	level slog.Level
	size  int
}

const (
	// mostPast is how many records are kept, of pastLevel and above: those that people
	// look for.
	mostPast  = 32
	pastLevel = slog.LevelInfo
)

// A logWatch is a program that watches the log.
type logWatch struct {
	stream  stream[control.Event]
	level   slog.Level
	service string // "": all, and the daemon itself
}

// log returns a logger that writes to another, and tells the watchers.
func (w *watchers) log(to *slog.Logger) *slog.Logger {
	return slog.New(&tee{Handler: to.Handler(), w: w})
}

func (w *watchers) wants(level slog.Level) bool {
	return slices.ContainsFunc(w.list, func(one *logWatch) bool { return level >= one.level })
}

// A tee is a handler of records in front of another.
type tee struct {
	slog.Handler
	w     *watchers
	attrs []slog.Attr
}

// Enabled reports whether anybody wants records of that level.
func (t *tee) Enabled(ctx context.Context, level slog.Level) bool {
	return t.Handler.Enabled(ctx, level) || t.w.wants(level)
}

// Handle passes a record on.
func (t *tee) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= pastLevel || t.w.wants(r.Level) {
		t.w.tell(t.event(r))
	}
	if !t.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return t.Handler.Handle(ctx, r)
}

// WithAttrs returns a handler whose records have further fields.
func (t *tee) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &tee{t.Handler.WithAttrs(attrs), t.w, slices.Concat(t.attrs, attrs)}
}

// event returns what watchers are told of a record.
func (t *tee) event(r slog.Record) watched {
	e := control.Event{Time: r.Time, Level: strings.ToLower(r.Level.String()), Message: r.Message, Fields: map[string]string{}}
	size := len(e.Message)
	add := func(a slog.Attr) bool {
		if a.Key != "" {
			v := a.Value.Resolve().String()
			e.Fields[a.Key] = v
			size += len(a.Key) + len(v) + itemSize
		}
		return true
	}
	for _, a := range t.attrs {
		add(a)
	}
	r.Attrs(add)
	return watched{e, r.Level, size}
}

func (w *watchers) tell(e watched) {
	for _, one := range w.list {
		one.tell(e)
	}
	if e.level < pastLevel {
		return
	}
	if len(w.past) == mostPast {
		copy(w.past, w.past[1:])
		w.past = w.past[:mostPast-1]
	}
	w.past = append(w.past, e)
}

func (o *logWatch) tell(e watched) {
	if e.level >= o.level && (o.service == "" || o.service == e.event.Fields["service"]) {
		o.stream.push(e.event, e.size)
	}
}

// watchLog begins to watch.
func (k *controlSocket) watchLog(a *asker) (func() bool, *control.Error) {
	var in control.Watching
	err := control.Decode(a.call.Parameters, map[string]any{"level": &in.Level, "service": &in.Service, "past": &in.Past})
	if err == nil {
		err = wantsMore(a)
	}
	if err != nil {
		return nil, err
	}
	if in.Service != "" && in.Service != controlName {
		if _, err := k.one(in.Service); err != nil {
			return nil, err
		}
	}
	one := &logWatch{service: in.Service}
	if one.level, err = levelOf(in.Level); err != nil {
		return nil, err
	}
	w := k.d.watchers
	one.stream = stream[control.Event]{
		k: k, a: a, bound: streamBound,
		tell: func(events []control.Event, missed uint64) any {
			return control.Events{Missed: missed, Events: events}
		},
		leave: func() {
			w.list = slices.DeleteFunc(w.list, func(o *logWatch) bool { return o == one })
		},
	}
	w.list = append(w.list, one)
	if in.Past {
		for _, e := range w.past {
			one.tell(e)
		}
	}
	return one.stream.begin()
}

// levelOf reads one of the words for log.level.
func levelOf(word string) (slog.Level, *control.Error) {
	i := slices.Index([]string{"", "debug", "info", "warn", "error"}, word)
	if i < 0 {
		return 0, control.InvalidParameter("level")
	}
	return []slog.Level{slog.LevelInfo, slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}[i], nil
}
