// SPDX-License-Identifier: Apache-2.0

package toml

import (
	"fmt"
	"slices"
	"strings"
)

// Options say how Parse works.
type Options struct {
	// Report is called with each problem, in the order of lines. It must be set.
	Report func(Problem)

	// Depth is how many names and brackets may lie in one another; 0: 16.
	Depth int

	// Pause is called every few kilobytes, so that the caller can let others
	// run. When it returns an error the reading ends with it. nil: not needed.
	Pause func() error
}

// A Problem is one thing that is wrong with a text.
type Problem struct {
	Line int
	Key  Path // nil when no key could be read there
	Text string

	// Mild is set for what the standard forbids but is read all the same: Text
	// says with which effect.
	Mild bool
}

const (
	defaultDepth = 16
	pauseEvery   = 4096 // bytes; some 50 µs on a desktop, half a millisecond on a small board
)

// Parse reads text. The table is what the text says; after problems that are
// no more than a name given twice or a value that cannot be read, the rest is
// there. whole is false when the reading ended before the text did: what comes
// after, say, an open string is guesswork. err is what Pause returned.
//
// The work is linear in the length of the text, and what is kept is at most
// some hundred bytes for each key and value.
func Parse(text string, o Options) (root *Table, whole bool, err error) {
	if o.Depth == 0 {
		o.Depth = defaultDepth
	}
	p := &parser{Options: o, text: withoutMark(text), line: 1}
	p.root = &Table{Line: 1, made: header}
	p.table = p.root
	whole = p.statements()
	p.root.first = nil // of a large table it is a third of the memory
	return p.root, whole, p.err
}

// withoutMark cuts a byte order mark off. Those of UTF-16 are no TOML; there are
// tools that leave one before a text in UTF-8.
func withoutMark(text string) string {
	for _, mark := range []string{"\uFEFF", "\xff\xfe", "\xfe\xff"} {
		if rest, ok := strings.CutPrefix(text, mark); ok {
			return rest
		}
	}
	return text
}

type parser struct {
	Options
	text    string
	pos     int
	line    int
	resting int // the position of the next pause

	root  *Table
	table *Table // of the latest header
	path  Path   // and its names; the parser's own, copied for a Problem
	err   error  // of Pause
}

// fail reports what ends the reading.
func (p *parser) fail(format string, args ...any) bool {
	p.report(nil, "is not TOML: "+format, args...)
	return false
}

// report tells of a problem with the key below the table at hand.
func (p *parser) report(key Path, format string, args ...any) {
	if key != nil {
		key = slices.Concat(p.path, key)
	}
	p.Report(Problem{Line: p.line, Key: key, Text: fmt.Sprintf(format, args...)})
}

// mild tells of what is read all the same.
func (p *parser) mild(line int, key Path, format string, args ...any) {
	p.Report(Problem{Line: line, Key: slices.Concat(p.path, key), Text: fmt.Sprintf(format, args...), Mild: true})
}

const added = "is complete since line %d; it is added to all the same"

// twice reports that the key in line is where e has put it before.
func (p *parser) twice(line int, key Path, e *Entry) {
	p.Report(Problem{Line: line, Key: slices.Concat(p.path, key), Text: fmt.Sprintf("given twice in one file, first in line %d", e.Line)})
}

// rest pauses when it is time to, and returns false if that was the end.
func (p *parser) rest() bool {
	if p.pos >= p.resting && p.Pause != nil {
		p.resting = p.pos + pauseEvery
		p.err = p.Pause()
	}
	return p.err == nil
}

// peek returns the next byte, or 0 at the end of the text, where no byte that
// has a meaning is 0.
func (p *parser) peek() byte {
	if p.pos < len(p.text) {
		return p.text[p.pos]
	}
	return 0
}

// accept takes s if it comes next.
func (p *parser) accept(s string) bool {
	ok := strings.HasPrefix(p.text[p.pos:], s)
	if ok {
		p.pos += len(s)
	}
	return ok
}

// blanks skips spaces and tabs.
func (p *parser) blanks() {
	for p.pos < len(p.text) && (p.text[p.pos] == ' ' || p.text[p.pos] == '\t') {
		p.pos++
	}
}

// newline takes the end of a line.
func (p *parser) newline() bool {
	if p.accept("\n") || p.accept("\r\n") {
		p.line++
		return true
	}
	return false
}

// comment takes one if it comes next.
func (p *parser) comment() bool {
	if p.peek() != '#' {
		return true
	}
	for p.pos < len(p.text) {
		if c := p.text[p.pos]; c == '\n' || c == '\r' {
			return true
		}
		if !p.character() {
			return false
		}
	}
	return true
}

// statements reads to the end.
func (p *parser) statements() bool {
	for p.pos < len(p.text) {
		if !p.rest() {
			return false
		}
		p.blanks()
		ok := true
		switch p.peek() {
		case '[':
			ok = p.header()
		case '#', '\n', '\r':
		case 0:
			if p.pos == len(p.text) {
				return true
			}
			return p.fail("zero byte, as a power cut or UTF-16 leaves them")
		default:
			ok = p.pair(p.table, len(p.path))
		}
		if !ok || !p.endLine() {
			return false
		}
	}
	return true
}

// endLine takes what may come after a statement. What may not, such as a
// semicolon, is skipped, unless something could begin in it that the next line
// goes on with.
func (p *parser) endLine() bool {
	p.blanks()
	if !p.comment() {
		return false
	}
	if p.pos == len(p.text) || p.newline() {
		return true
	}
	rest, _, _ := strings.Cut(p.text[p.pos:], "\n")
	p.fail("%s after the end of the value", excerpt(rest))
	return p.skip(rest)
}

// skip moves behind s if nothing in it opens or closes anything.
func (p *parser) skip(s string) bool {
	if strings.ContainsAny(s, "\"'[]{}") {
		return false
	}
	p.pos += len(s)
	return p.pos == len(p.text) || p.newline()
}

// header reads [a.b] or [[a.b]] and makes the table.
func (p *parser) header() bool {
	open, shut := "[", "]"
	if strings.HasPrefix(p.text[p.pos:], "[[") {
		open, shut = "[[", "]]"
	}
	p.pos += len(open)
	names, ok := p.key(0)
	if !ok {
		return false
	}
	if !p.accept(shut) {
		return p.fail("%s in a header, want %s at its end", p.found(), shut)
	}
	p.path = nil // names are from the root
	up := p.parent(names)
	switch {
	case up == nil:
		p.table = &Table{Line: p.line, made: header} // nobody sees it
	case len(shut) == 2:
		p.table = p.appendTable(up, names)
	default:
		p.table = p.defineTable(up, names)
	}
	p.path = names
	return true
}

// tableIn adds a table to t that stands in a path and has no header of its own.
func (p *parser) tableIn(t *Table, name string, made origin) *Table {
	next := &Table{Line: p.line, made: made}
	t.add(Entry{Name: name, Line: p.line, Value: next})
	return next
}

// parent returns the table that the last of names is to be in, or nil with a
// report.
func (p *parser) parent(names Path) *Table {
	t := p.root
	for i, name := range names[:len(names)-1] {
		e := t.find(name)
		if e == nil {
			t = p.tableIn(t, name, implied)
			continue
		}
		if t = below(e); t == nil {
			p.report(names[:i+1], "has its value in line %d, nothing can be added to it", e.Line)
			return nil
		}
		if t.made == inline {
			p.mild(p.line, names[:i+1], added, e.Line)
		}
	}
	return t
}

// defineTable makes the table [names] in up. The body of one that is there
// already is read into another, so that its mistakes are found.
func (p *parser) defineTable(up *Table, names Path) *Table {
	name := names[len(names)-1]
	e := up.find(name)
	if e != nil {
		switch t, ok := e.Value.(*Table); {
		case ok && t.made == implied:
			t.made, t.Line, e.Line = header, p.line, p.line
			return t
		case ok && t.made == dotted:
			p.mild(p.line, names, added, e.Line)
			t.made = header
			return t
		}
		p.twice(p.line, names, e)
	}
	t := &Table{Line: p.line, made: header}
	up.add(Entry{Name: name, Line: p.line, Value: t, Again: e != nil})
	return t
}

// appendTable makes one more table of the array [[names]] in up.
func (p *parser) appendTable(up *Table, names Path) *Table {
	name := names[len(names)-1]
	t := &Table{Line: p.line, made: header}
	e := up.find(name)
	if e == nil {
		up.add(Entry{Name: name, Line: p.line, Value: Tables{t}})
		return t
	}
	if list, ok := e.Value.(Tables); ok {
		e.Value = append(list, t)
		return t
	}
	p.twice(p.line, names, e)
	return t
}

// pair reads key = value into t, which is depth names below the root. t is
// the table at hand or an inline one.
func (p *parser) pair(t *Table, depth int) bool {
	line := p.line
	names, ok := p.key(depth)
	if !ok {
		return false
	}
	if !p.accept("=") {
		return p.fail("%s after the key %s, want =", p.found(), excerpt(names.String()))
	}
	p.blanks()
	into := p.dotted(t, names)
	v, ok := p.value(depth+len(names), names)
	if !ok || into == nil {
		return ok
	}
	name := names[len(names)-1]
	e := into.find(name)
	if e != nil {
		if ignored(e, v) {
			p.mild(line, names, "is a table since line %d, and this value is ignored", e.Line)
			return true
		}
		p.twice(line, names, e)
	}
	into.add(Entry{Name: name, Line: line, Value: v, Again: e != nil})
	return true
}

// ignored reports whether v is left out where e is a table of keys such as t.key:
// it was made by them, and no statement has said what it is.
func ignored(e *Entry, v any) bool {
	t, isTable := e.Value.(*Table)
	_, another := v.(*Table)
	return isTable && !another && (t.made == implied || t.made == dotted)
}

// dotted returns the table that the last of names is to be in, seen from t, or
// nil with a report.
func (p *parser) dotted(t *Table, names Path) *Table {
	for i, name := range names[:len(names)-1] {
		e := t.find(name)
		if e == nil {
			t = p.tableIn(t, name, dotted)
			continue
		}
		next := below(e)
		if next == nil {
			p.report(names[:i+1], "has its value in line %d, nothing can be added to it", e.Line)
			return nil
		}
		if next.made == header || next.made == inline {
			p.mild(p.line, names[:i+1], added, e.Line)
		} else {
			next.made = dotted
		}
		t = next
	}
	return t
}
