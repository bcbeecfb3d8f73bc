// SPDX-License-Identifier: Apache-2.0

// Package text makes bytes that a stranger sent fit to be read by a person, on
// a terminal or in a log. It is the one place that says which characters are
// not: those that move a cursor, start a command of a terminal, end a line or
// turn the direction of what stands around them.
//
//	U+0000 … U+001F   but for tab: C0, the commands of a terminal
//	U+007F … U+009F   DEL and C1, commands too, on terminals of eight bits
//	U+2028, U+2029    ends of a line and of a paragraph
//	Bidi_Control      the text behind them is shown in another order
//	not UTF-8         0x80 … 0x9F alone are C1, 0xFF is telnet's IAC
//
// Everything else is left alone. To drop all that Unicode calls unassigned or
// invisible would be safer by little, and would break scripts that need joiners.
package text

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Unsafe reports whether r must not be shown as it is.
func Unsafe(r rune) bool {
	switch {
	case r < 0x7f:
		return r < ' ' && r != '\t'
	case r <= 0x9f, r == '\u2028', r == '\u2029':
		return true
	}
	return r >= 0x61c && unicode.Is(unicode.Bidi_Control, r) // U+061C is the first
}

// IsControl reports whether r is a control character of ASCII, tab included: what
// must not come near a unit file, which cannot say it.
func IsControl(r rune) bool { return r < ' ' || r == 0x7f }

// AppendClean appends p to dst, with '?' for each character that is unsafe and
// each byte that is not UTF-8. p may be the end of dst.
func AppendClean(dst, p []byte) []byte { return appendClean(dst, p, false) }

// AppendLines is AppendClean for text of several lines: LF is kept.
func AppendLines(dst, p []byte) []byte { return appendClean(dst, p, true) }

func appendClean(dst, p []byte, lines bool) []byte {
	for i := 0; i < len(p); {
		if c := p[i]; c < utf8.RuneSelf {
			if Unsafe(rune(c)) && (c != '\n' || !lines) {
				c = '?'
			}
			dst = append(dst, c)
			i++
			continue
		}
		r, n := utf8.DecodeRune(p[i:])
		if r == utf8.RuneError && n == 1 || Unsafe(r) {
			dst = append(dst, '?')
		} else {
			dst = append(dst, p[i:i+n]...)
		}
		i += n
	}
	return dst
}

// Excerpt returns the beginning of p, at most so many bytes of it, for a record
// about input that was not understood: in ASCII, with escapes for all the rest,
// so that nothing of it is lost.
func Excerpt(p []byte, most int) string {
	const hex = "0123456789abcdef"
	cut := len(p) > most
	out := make([]byte, 0, min(len(p), most)+8)
	for _, b := range p[:min(len(p), most)] {
		switch {
		case b == '\n':
			out = append(out, `\n`...)
		case b == '\r':
			out = append(out, `\r`...)
		case b == '\\':
			out = append(out, `\\`...)
		case b < ' ' || b > '~':
			out = append(out, '\\', 'x', hex[b>>4], hex[b&15])
		default:
			out = append(out, b)
		}
	}
	if cut {
		out = append(out, "..."...)
	}
	return string(out)
}

// Escape returns s with an escape for what is not printable: control characters of
// all kinds and those that change the direction of writing. It is for texts of our
// own that quote a file.
func Escape(s string) string {
	if !strings.ContainsFunc(s, unprintable) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case !unprintable(r):
			b.WriteRune(r)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }
