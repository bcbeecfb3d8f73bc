// SPDX-License-Identifier: Apache-2.0

package toml

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// value reads what stands after an equals sign or in an array. depth is that
// of its key, names its path below the table at hand.
func (p *parser) value(depth int, names Path) (any, bool) {
	switch {
	case p.accept(`"""`):
		return p.text3('"')
	case p.accept("'''"):
		return p.text3('\'')
	case p.accept(`"`):
		s, ok := p.basic()
		return s, ok
	case p.accept("'"):
		s, ok := p.literal()
		return s, ok
	case p.peek() == '[' || p.peek() == '{':
		if depth++; depth > p.Depth {
			return nil, p.fail("nested deeper than %d", p.Depth)
		}
		if p.accept("[") {
			return p.array(depth, names)
		}
		p.pos++
		return p.inline(depth, names)
	}
	return p.word(names)
}

func (p *parser) text3(quote byte) (any, bool) {
	s, ok := p.multiline(quote)
	return s, ok
}

// array reads [a, b] after the bracket.
func (p *parser) array(depth int, names Path) (any, bool) {
	list := []any{}
	first := p.line
	for {
		if !p.space() {
			return nil, false
		}
		if p.accept("]") {
			return list, true
		}
		if p.pos < len(p.text) {
			v, ok := p.value(depth, names)
			if !ok || !p.space() {
				return nil, false
			}
			list = append(list, v)
		}
		if p.pos == len(p.text) {
			p.line = first // the end of the file is nobody's line
			return nil, p.fail("an array without ] at its end")
		}
		if !p.accept(",") && p.peek() != ']' {
			return nil, p.fail("%s in an array, want a comma or ]", p.found())
		}
	}
}

// space skips blanks, ends of lines and comments.
func (p *parser) space() bool {
	for {
		p.blanks()
		if !p.comment() || !p.rest() {
			return false
		}
		if !p.newline() {
			return true
		}
	}
}

// inline reads {a = 1, b = 2} after the brace.
func (p *parser) inline(depth int, names Path) (any, bool) {
	t := &Table{Line: p.line, made: inline}
	outer := p.path
	p.path = append(outer[:len(outer):len(outer)], names...)
	defer func() { p.path = outer }()
	for p.space() {
		if p.accept("}") {
			return t, true
		}
		if p.pos < len(p.text) && (!p.pair(t, depth) || !p.space()) {
			return nil, false
		}
		if p.pos == len(p.text) {
			p.line = t.Line // the end of the file is nobody's line
			return nil, p.fail("a table without } at its end")
		}
		if !p.accept(",") && p.peek() != '}' {
			return nil, p.fail("%s in a table in braces, want a comma or }", p.found())
		}
	}
	return nil, false
}

// word reads what has no quotes or brackets: a number, true or false, a date.
// One that is none of them is reported, and the reading goes on after it, unless
// something could begin in it that the next line goes on with.
func (p *parser) word(names Path) (any, bool) {
	w := p.text[p.pos:]
	if i := strings.IndexAny(w, ",]}#\n"); i >= 0 {
		w = w[:i]
	}
	w = strings.TrimRight(w, " \t\r")
	v, problem := scalar(w)
	switch {
	case problem == "":
		p.pos += len(w)
		return v, true
	case w == "" || strings.ContainsAny(w, "\"'[{") || !utf8.ValidString(w) || strings.ContainsFunc(w, isControl):
		return nil, p.fail("%s where a value should be", p.found())
	}
	p.report(names, "is not TOML: %s %s", excerpt(w), problem)
	p.pos += len(w)
	return Invalid{}, true
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// scalar returns the value of a word, or what is wrong with it.
func scalar(w string) (v any, problem string) {
	const beyond = "is beyond 64 bits"
	switch {
	case w == "true" || w == "false":
		return w == "true", ""
	case isInteger(w):
		n, err := strconv.ParseInt(strings.ReplaceAll(w, "_", ""), 0, 64)
		if err != nil {
			return nil, beyond
		}
		return n, ""
	case unsigned(w) == "nan":
		return math.NaN(), ""
	case isFloat(w):
		n, err := strconv.ParseFloat(strings.ReplaceAll(w, "_", ""), 64)
		if err != nil {
			return nil, beyond
		}
		return n, ""
	case isTime(w):
		return Time(w), ""
	}
	return nil, "is no value; a text stands in quotes"
}

// isDigits reports digits, as many as may be, with single underscores between.
func isDigits(s, digits string) bool {
	return s != "" && s[0] != '_' && s[len(s)-1] != '_' && !strings.Contains(s, "__") && strings.Trim(s, digits+"_") == ""
}

const decimal = "0123456789"

var bases = []struct{ prefix, digits string }{
	{"0x", decimal + "abcdefABCDEF"},
	{"0o", "01234567"},
	{"0b", "01"},
}

func isInteger(w string) bool {
	for _, base := range bases {
		if rest, ok := strings.CutPrefix(w, base.prefix); ok {
			return isDigits(rest, base.digits)
		}
	}
	w = unsigned(w)
	return isDigits(w, decimal) && (w[0] != '0' || len(w) == 1)
}

func unsigned(w string) string {
	if w != "" && (w[0] == '+' || w[0] == '-') {
		return w[1:]
	}
	return w
}

func isFloat(w string) bool {
	if unsigned(w) == "inf" {
		return true
	}
	w = strings.ReplaceAll(w, "E", "e")
	mantissa, exponent, hasExponent := strings.Cut(w, "e")
	whole, fraction, hasFraction := strings.Cut(mantissa, ".")
	return (hasExponent || hasFraction) && isInteger(whole) && strings.Trim(unsigned(whole), decimal+"_") == "" &&
		(!hasFraction || isDigits(fraction, decimal)) && (!hasExponent || isDigits(unsigned(exponent), decimal))
}

// layouts of dates and times. Package time takes a fraction after the seconds
// by itself.
var layouts = []string{
	"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05", "2006-01-02", "15:04:05",
	"2006-01-02T15:04Z07:00", "2006-01-02T15:04", "15:04",
}

func isTime(w string) bool {
	if len(w) < len("15:04") || strings.IndexByte(decimal, w[0]) < 0 {
		return false // as most words, and package time takes long to say so
	}
	w = strings.ToUpper(w)
	if len(w) > 10 && w[10] == ' ' {
		w = w[:10] + "T" + w[11:]
	}
	whole := w // without the fraction
	if i := strings.IndexByte(w, '.'); i >= 0 {
		whole = w[:i] + strings.TrimLeft(w[i+1:], decimal)
	}
	for _, layout := range layouts {
		if t, err := time.Parse(layout, w); err == nil {
			// Package time takes one digit for two, and any offset.
			return t.Format(layout) == whole || strings.HasSuffix(layout, "Z07:00") && len(whole) == len(layout) && whole[len(whole)-2] < '6'
		}
	}
	return false
}
