// SPDX-License-Identifier: Apache-2.0

package toml

import (
	"fmt"
	"iter"
	"strings"
	"unicode"
)

// A Table holds entries in the order of the text. Look at it with All and Get.
type Table struct {
	// Line is where the header stands, or else the first key that implies the
	// table.
	Line int

	made   origin
	chunks [][]Entry // full but for the last
	count  int
	first  map[string]int // by name: which entry; nil while there are few
}

// chunk is how many entries lie side by side. A slice of all would be copied again and
// again while it grows, the last time by megabytes in one step, in which nobody else
// gets the processor.
const chunk = 512

// An Entry is a key and its value: a string, int64, float64, bool, Time, []any,
// *Table, Tables or Invalid.
type Entry struct {
	Name  string
	Line  int
	Value any

	// Again is set when the name was there before. That is a mistake, and has
	// been reported; the value is kept so that it can be checked as well.
	Again bool
}

// Tables is an array of tables, made by headers in double brackets.
type Tables []*Table

// A Time is a date, a time or both, as written and known to be one.
type Time string

// Invalid stands for a value that could not be read, and was reported.
type Invalid struct{}

// All yields the entries with their places, from 0.
func (t *Table) All() iter.Seq2[int, Entry] {
	return func(yield func(int, Entry) bool) {
		for i := range t.count {
			if !yield(i, *t.at(i)) {
				return
			}
		}
	}
}

// Drain is All for a table that is not needed any more. It lets go of entries on the way,
// so that the caller's copy of a large table takes the room of what it has copied.
func (t *Table) Drain() iter.Seq2[int, Entry] {
	return func(yield func(int, Entry) bool) {
		n := t.count
		t.count, t.first = 0, nil
		for i := range n {
			e := *t.at(i)
			if i%chunk == chunk-1 {
				t.chunks[i/chunk] = nil
			}
			if !yield(i, e) {
				return
			}
		}
	}
}

// Len returns how many entries there are.
func (t *Table) Len() int { return t.count }

func (t *Table) at(i int) *Entry { return &t.chunks[i/chunk][i%chunk] }

// Get returns the value of the first entry of that name.
func (t *Table) Get(name string) (any, bool) {
	e := t.find(name)
	if e == nil {
		return nil, false
	}
	return e.Value, true
}

// few is up to how many entries are looked through one by one. Most tables are
// that small, and a map for each would be most of the memory.
const few = 8

func (t *Table) find(name string) *Entry {
	if t.first != nil {
		if i, ok := t.first[name]; ok {
			return t.at(i)
		}
		return nil
	}
	for i := range t.count {
		if e := t.at(i); e.Name == name {
			return e
		}
	}
	return nil
}

// add appends e; the caller has looked whether the name is there already.
func (t *Table) add(e Entry) {
	switch last := len(t.chunks) - 1; {
	case t.count == 0:
		t.chunks = [][]Entry{{e}}
	case t.count%chunk == 0:
		t.chunks = append(t.chunks, append(make([]Entry, 0, chunk), e))
	default:
		t.chunks[last] = append(t.chunks[last], e)
	}
	t.count++
	switch {
	case t.first == nil && t.count > few:
		t.first = make(map[string]int, 2*few)
		for i := t.count - 1; i >= 0; i-- {
			t.first[t.at(i).Name] = i // backwards: the first of a name stays
		}
	case t.first != nil && !e.Again:
		t.first[e.Name] = t.count - 1
	}
}

// An origin says what made a table, on which depends what may add to it.
//
//	            [t] once more   t.key = in a table   [t.below]   t = value
//	implied     becomes header  becomes dotted       yes         ignored, mild
//	header      no              added, mild          yes         no
//	dotted      header, mild    yes                  yes         ignored, mild
//	inline      no              added, mild          added, mild no
//
// The standard forbids what is marked mild. But an earlier version used a library that
// accepts it, so there are files like that, and they must keep their meaning.
type origin uint8

const (
	implied origin = iota // by the header of a table below it
	header
	dotted // by a key such as t.key
	inline // in braces, which hold all of it
)

// below returns the table that e holds, of an array of tables the last one. It
// returns nil if nothing can be put there.
func below(e *Entry) *Table {
	switch v := e.Value.(type) {
	case *Table:
		return v
	case Tables:
		return v[len(v)-1]
	}
	return nil
}

// A Path is the names that lead to a key.
type Path []string

// String joins the names with dots and quotes those that TOML wants quoted.
// What no terminal should get is escaped.
func (p Path) String() string {
	var b strings.Builder
	for i, name := range p {
		if i > 0 {
			b.WriteByte('.')
		}
		if name != "" && strings.Trim(name, bare) == "" {
			b.WriteString(name)
			continue
		}
		b.WriteString(Quote(name))
	}
	return b.String()
}

// bare is what a key may hold without quotes.
const bare = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"

// Quote returns s as a basic string, with the escapes of TOML for whatever is
// not printable, among them controls of all kinds and what changes the
// direction of writing.
func Quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08X`, r)
		default:
			fmt.Fprintf(&b, `\u%04X`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
