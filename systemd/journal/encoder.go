// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"encoding"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// What a record may grow to. journald takes records of many megabytes, but a
// log line is not where they belong, and on a small machine it writes each to
// flash. Everything together stays within 64 KiB:
//
//	+----------------------------+---------+---------------------+
//	| head, CODE_*, TRUNCATED ...| MESSAGE | attributes          |
//	| 1 KiB                      | 16 KiB  | the rest            |
//	+----------------------------+---------+---------------------+
const (
	maxRecord = 64 << 10
	maxText   = 16 << 10
	maxFields = maxRecord - maxText - 1<<10

	// maxLine is PIPE_BUF: a line of that size goes into a pipe that has room
	// at all, and in one piece (pipe(7)). The journal's stream would take
	// 48 KiB before it cuts (LineMax= in journald.conf(5)).
	maxLine = 4096

	// minValue is the least room in which the beginning of a value is worth
	// keeping.
	minValue = 64

	// fieldOverhead is what the length-prefixed form adds to name and value:
	// two newlines and eight bytes.
	fieldOverhead = 10
)

// An encoder holds the buffers of one record. It is taken from a pool, so that
// logging does not allocate once the buffers have grown.
type encoder struct {
	text   []byte // ` key=value` for the message line
	fields []byte // the same as journal fields; formatJournal only
	prefix []byte // groups around the current attribute: "a.b."
	val    []byte // the current value
	out    []byte // the finished record
	native bool
	cut    bool
}

var encoders = sync.Pool{New: func() any { return new(encoder) }}

func newEncoder(h *handler) *encoder {
	e := encoders.Get().(*encoder)
	e.text = append(e.text[:0], h.text...)
	e.fields = append(e.fields[:0], h.fields...)
	e.prefix = append(e.prefix[:0], h.prefix...)
	e.out = e.out[:0]
	e.native, e.cut = h.format == formatJournal, h.cut
	return e
}

// free returns e to the pool, unless a rare large record has made it large: the
// pool would keep that memory.
func (e *encoder) free() {
	if cap(e.out)+cap(e.val)+cap(e.fields)+cap(e.text) <= 32<<10 {
		encoders.Put(e)
	}
}

// keyMessageID names a kind of message for the catalog (journalctl -x). It
// becomes the field MESSAGE_ID, and is left out of the text.
const keyMessageID = "message_id"

// attr adds one attribute, or each of a group, by the rules of slog.Handler.
func (e *encoder) attr(a slog.Attr) {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		mark := len(e.prefix)
		if a.Key != "" { // without a key the group is inlined
			e.prefix = append(append(e.prefix, a.Key...), '.')
		}
		for _, b := range v.Group() {
			e.attr(b)
		}
		e.prefix = e.prefix[:mark]
		return
	}
	if a.Key == "" && v.Kind() == slog.KindAny && v.Any() == nil {
		return // the zero Attr is ignored
	}
	e.val = appendValue(e.val[:0], v)
	if a.Key != keyMessageID || len(e.prefix) > 0 {
		e.pair(a.Key)
	}
	if e.native {
		e.field(a.Key)
	}
}

// pair adds ` key=value` to the text, quoted where a reader could be misled.
func (e *encoder) pair(key string) {
	if len(e.text) >= maxText {
		e.cut = true
		return
	}
	e.text = append(e.text, ' ')
	mark := len(e.text)
	e.text = append(append(e.text, e.prefix...), key...)
	if name := e.text[mark:]; needsQuote(name) {
		e.text = appendQuoted(e.text[:mark], append([]byte(nil), name...))
	}
	e.text = append(e.text, '=')
	val := e.val[:min(len(e.val), maxText)] // what is cut off below anyway
	if needsQuote(val) {
		e.text = appendQuoted(e.text, val)
	} else {
		e.text = append(e.text, val...)
	}
	if len(e.text) > maxText {
		e.text, e.cut = cutWithMark(e.text, maxText), true
	}
}

// field adds NAME=value to the fields. It may cut e.val.
func (e *encoder) field(key string) {
	mark := len(e.fields)
	e.fields = appendFieldName(e.fields, e.prefix, key)
	if len(e.fields) == mark {
		return // nothing of the key is left; the text has it
	}
	room := maxFields - len(e.fields) - fieldOverhead
	if len(e.val) > room {
		e.cut = true
		if room < minValue {
			e.fields = e.fields[:mark]
			return
		}
		e.val = cutWithMark(e.val, room)
	}
	e.fields = appendFieldValue(e.fields, e.val)
}

// appendValue renders v, resolved and no group, without quotes.
func appendValue(dst []byte, v slog.Value) []byte {
	switch v.Kind() {
	case slog.KindString:
		return append(dst, v.String()...)
	case slog.KindInt64:
		return strconv.AppendInt(dst, v.Int64(), 10)
	case slog.KindUint64:
		return strconv.AppendUint(dst, v.Uint64(), 10)
	case slog.KindFloat64:
		return strconv.AppendFloat(dst, v.Float64(), 'g', -1, 64)
	case slog.KindBool:
		return strconv.AppendBool(dst, v.Bool())
	case slog.KindDuration:
		return append(dst, v.Duration().String()...)
	case slog.KindTime:
		return v.Time().AppendFormat(dst, time.RFC3339Nano)
	}
	return appendAny(dst, v.Any())
}

// appendAny renders a value by its own method. A method that panics, as those
// of nil pointers do, must not take the process down for a log line.
func appendAny(dst []byte, x any) (out []byte) {
	defer func() {
		if p := recover(); p != nil {
			out = fmt.Appendf(dst, "!PANIC: %v", p)
		}
	}()
	switch x := x.(type) {
	case error:
		return append(dst, x.Error()...)
	case []byte:
		return append(dst, x...)
	case encoding.TextAppender:
		if b, err := x.AppendText(dst); err == nil {
			return b
		}
	case encoding.TextMarshaler:
		if b, err := x.MarshalText(); err == nil {
			return append(dst, b...)
		}
	}
	return fmt.Appendf(dst, "%+v", x)
}

// needsQuote reports whether b, bare in a line of key=value pairs, would read
// as something else or garble a terminal.
func needsQuote(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	for i := 0; i < len(b); {
		c := b[i]
		if c < utf8.RuneSelf {
			if c <= ' ' || c == '"' || c == '=' || c == '\\' || c == 0x7f {
				return true
			}
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 || !unicode.IsPrint(r) {
			return true
		}
		i += n
	}
	return false
}

// appendQuoted writes b as a Go string literal, like strconv.AppendQuote but
// without first making a string of it.
func appendQuoted(dst, b []byte) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', b[i])
		case r == utf8.RuneError && n == 1 || !unicode.IsPrint(r):
			dst = appendEscape(dst, b[i:i+n], r)
		default:
			dst = append(dst, b[i:i+n]...)
		}
		i += n
	}
	return append(dst, '"')
}

// appendLine writes a message as one line. Only what would break the line, or
// the terminal, is escaped.
func appendLine(dst []byte, s string) []byte {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || !unicode.IsPrint(r) {
			var raw [utf8.UTFMax]byte
			dst = appendEscape(dst, raw[:copy(raw[:], s[i:i+n])], r)
		} else {
			dst = append(dst, s[i:i+n]...)
		}
		i += n
	}
	return dst
}

// appendEscape writes the bytes of one unprintable character visibly.
func appendEscape(dst, raw []byte, r rune) []byte {
	switch r {
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	const hex = "0123456789abcdef"
	for _, c := range raw {
		dst = append(dst, '\\', 'x', hex[c>>4], hex[c&15])
	}
	return dst
}
