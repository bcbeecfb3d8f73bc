// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// A format is what one record looks like on the way out.
type format uint8

const (
	formatJournal  format = iota // native protocol, fields
	formatPriority               // "<4>message key=value", sd-daemon(3)
	formatPlain                  // "warn message key=value"
)

// handler implements slog.Handler for all formats. A record is encoded once,
// into a buffer from a pool, and handed to the Sink; attributes of WithAttrs
// are encoded when they are given. The alternative, one type a format, would
// repeat the walk over groups and attributes three times.
//
// A handler is immutable: WithAttrs and WithGroup return copies.
type handler struct {
	sink       *Sink
	level      slog.Leveler
	identifier string // encoded field
	format     format
	source     bool // add CODE_*
	stamp      bool // formatPlain: begin with the time

	prefix string // open groups: "a.b."
	text   []byte // attributes of WithAttrs, in both shapes
	fields []byte
	cut    bool // some of them did not fit
}

func (h *handler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	h2 := *h
	h2.prefix += name + "."
	return &h2
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return h
	}
	e := newEncoder(h)
	defer e.free()
	for _, a := range attrs {
		e.attr(a)
	}
	h2 := *h
	h2.text, h2.fields, h2.cut = slices.Clone(e.text), slices.Clone(e.fields), e.cut
	return &h2
}

// Handle encodes r and passes it on. The error is always nil: there is nothing
// that a caller of slog could do about it.
func (h *handler) Handle(_ context.Context, r slog.Record) error {
	e := newEncoder(h)
	defer e.free()
	r.Attrs(func(a slog.Attr) bool {
		e.attr(a)
		return true
	})
	h.finish(e, r)
	h.sink.write(e.out, r.Time)
	return nil
}

// finish puts the record together in e.out.
func (h *handler) finish(e *encoder, r slog.Record) {
	switch h.format {
	case formatJournal:
		h.finishJournal(e, r)
		return
	case formatPriority:
		e.out = append(e.out, '<', priority(r.Level), '>')
	case formatPlain:
		if h.stamp && !r.Time.IsZero() {
			e.out = append(r.Time.AppendFormat(e.out, "2006-01-02T15:04:05.000Z07:00"), ' ')
		}
		e.out = append(appendLevel(e.out, r.Level), ' ')
	}
	e.out = appendLine(e.out, r.Message)
	e.out = append(e.out, e.text...)
	if len(e.out) >= maxLine {
		e.out = cutWithMark(e.out, maxLine-1)
	}
	e.out = append(e.out, '\n')
}

// finishJournal lays a record out as
//
//	PRIORITY  SYSLOG_IDENTIFIER  MESSAGE  attributes  CODE_*  TRUNCATED
//
// with the attributes in MESSAGE too, so that plain journalctl(1) shows them.
func (h *handler) finishJournal(e *encoder, r slog.Record) {
	e.out = append(e.out, "PRIORITY="...)
	e.out = append(e.out, priority(r.Level), '\n')
	e.out = append(e.out, h.identifier...)
	e.val = append(append(e.val[:0], r.Message...), e.text...)
	if len(e.val) > maxText {
		e.val, e.cut = cutWithMark(e.val, maxText), true
	}
	e.out = append(e.out, "MESSAGE"...)
	e.out = appendFieldValue(e.out, e.val)
	e.out = append(e.out, e.fields...)
	if h.source {
		e.source(r.Source())
	}
	if e.cut {
		e.out = append(e.out, "TRUNCATED=1\n"...)
	}
}

// source adds where the program logged, in the fields of sd_journal_print(3).
func (e *encoder) source(src *slog.Source) {
	if src == nil {
		return // the record was not made by a slog.Logger
	}
	e.out = appendLine(append(e.out, "CODE_FILE="...), tail(src.File))
	e.out = strconv.AppendInt(append(e.out, "\nCODE_LINE="...), int64(src.Line), 10)
	e.out = appendLine(append(e.out, "\nCODE_FUNC="...), tail(src.Function))
	e.out = append(e.out, '\n')
}

// tail keeps the end of a path or function name, which tells most.
func tail(s string) string { return s[max(0, len(s)-255):] }

// notice encodes the record that stands for those that were lost.
func (h *handler) notice(lost uint64) []byte {
	r := slog.NewRecord(time.Now(), slog.LevelWarn, "log messages dropped", 0)
	base := &handler{identifier: h.identifier, format: h.format, stamp: h.stamp}
	e := newEncoder(base)
	defer e.free()
	e.attr(slog.Uint64("dropped", lost))
	base.finish(e, r)
	return slices.Clone(e.out)
}

// late adds the time when it was made to a record that has to wait, since
// journald stamps a record with the time when it arrives. The unit is
// microseconds since 1970, as in the journal's own time fields.
func (h *handler) late(p []byte, made time.Time) []byte {
	if h.format != formatJournal || made.IsZero() {
		return p
	}
	p = append(p, "RECORD_REALTIME_USEC="...)
	return append(strconv.AppendInt(p, made.UnixMicro(), 10), '\n')
}

// priority maps levels to syslog(3) priorities, as a digit.
func priority(l slog.Level) byte {
	switch {
	case l >= slog.LevelError+4:
		return '2' // critical
	case l >= slog.LevelError:
		return '3'
	case l >= slog.LevelWarn:
		return '4'
	case l > slog.LevelInfo:
		return '5' // notice
	case l == slog.LevelInfo:
		return '6'
	}
	return '7'
}

// appendLevel writes the level in words: "warn", "info+2".
func appendLevel(dst []byte, l slog.Level) []byte {
	for _, c := range []byte(l.String()) {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// cutMark ends a text that was longer.
const cutMark = " [cut]"

// cutWithMark shortens b to at most n bytes, the mark included, at the
// boundary of a character. b is longer than n.
func cutWithMark(b []byte, n int) []byte {
	n = max(n-len(cutMark), 0)
	for n > 0 && !utf8.RuneStart(b[n]) {
		n--
	}
	return append(b[:n], cutMark...)
}
