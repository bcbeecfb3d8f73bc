// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// A text becomes a flat list of entries, one for each key that has a value,
// which know how to find the line they stand on. The TOML library knows the
// lines but has no function for them; it puts them into its errors, however. So
// a value is decoded a second time into a type that always fails, and the line
// is taken from the failure. Each such failure costs a walk over the text, so
// only mistakes ask. Finding the lines with a scanner of our own was the
// alternative: a second reading of the grammar that would differ somewhere.

// An entry is one key of one file and its undecoded value.
type entry struct {
	file    string
	md      *toml.MetaData
	at      toml.Primitive // what the library remembers the line of
	header  toml.Primitive // the table it is in, for when it has none
	section string         // limits, log or service
	service string         // its name, in section service
	key     string         // "" is the header of a service
	value   any
}

// line returns the line of the entry.
func (e entry) line() int { return cmp.Or(lineOf(e.md, e.at), lineOf(e.md, e.header)) }

// String returns the path of the key, for mistakes.
func (e entry) String() string {
	path := toml.Key{e.section}
	if e.service != "" {
		path = append(path, e.service)
	}
	if e.key != "" {
		path = append(path, e.key)
	}
	return path.String()
}

// errProbe never leaves lineOf.
var errProbe = errors.New("probe")

// A probe fails to decode anything.
type probe struct{}

func (*probe) UnmarshalTOML(any) error { return errProbe }

// lineOf returns the line of a key. One that is only implied, such as service
// in [service.x], is where the first of its members is.
func lineOf(md *toml.MetaData, p toml.Primitive) int {
	pe, _ := errors.AsType[toml.ParseError](md.PrimitiveDecode(p, &probe{}))
	if line := pe.Position.Line; line > 0 {
		return line
	}
	first := 0
	m, _ := members(md, p)
	for _, p := range m {
		if line := lineOf(md, p); first == 0 || line < first {
			first = line
		}
	}
	return first
}

// parse adds the entries of one text.
func (b *builder) parse(file string, text []byte) {
	b.files = append(b.files, file)
	var tree map[string]toml.Primitive
	md, ok := b.decode(file, bytes.Clone(text), &tree) // decode may blank out lines
	if !ok {
		return
	}
	for section, p := range tree {
		e := entry{file: file, md: &md, at: p, header: p, section: section}
		switch section {
		case "limits":
			b.keys(e, names(limitKeys))
		case "log":
			b.keys(e, names(logKeys))
		case "loop":
			b.keys(e, names(loopKeys))
		case "service":
			b.services(e)
		default:
			b.wrong(e, fmt.Errorf("unknown, want one of limits, log, loop, service%s", suggest(section, []string{"limits", "log", "loop", "service"})))
		}
	}
}

// isName keeps a name usable as part of a unit's name and as the
// FileDescriptorName= of its socket: [a-z][a-z0-9_-]{0,31}.
func isName(s string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	return s != "" && len(s) <= 32 && strings.Contains(letters, s[:1]) && strings.Trim(s, letters+"0123456789_-") == ""
}

// reserved would be taken for a unit of the package: penstock-NAME.
var reserved = []string{"config-error"}

// services adds the entries below "service".
func (b *builder) services(e entry) {
	tables, ok := members(e.md, e.at)
	if !ok {
		b.wrong(e, wrongType(value(e.md, e.at), "tables such as [service.NAME]"))
		return
	}
	for name, p := range tables {
		e := e
		e.service, e.at, e.header = name, p, p
		switch {
		case name == "": // the path could not say which
			b.wrong(e, errors.New(`"" is not a name`))
			continue
		case !isName(name):
			b.wrong(e, errors.New("is not a name: want a lower-case letter, then up to 31 of a-z 0-9 _ -"))
		case slices.Contains(reserved, name):
			b.wrong(e, errors.New("is a name that a unit of the package has"))
		}
		b.keys(e, serviceKeyNames())
	}
}

// keys adds an entry for each key of the table e, and one for its header.
func (b *builder) keys(e entry, known []string) {
	leaves, ok := members(e.md, e.at)
	if !ok {
		b.wrong(e, wrongType(value(e.md, e.at), "a table"))
		return
	}
	b.entries = append(b.entries, e)
	for name, p := range leaves {
		e := e
		e.key, e.value, e.at = name, value(e.md, p), p
		b.entries = append(b.entries, e)
		if !slices.Contains(known, name) {
			b.wrong(e, errors.New("unknown key"+suggest(name, known)))
		}
	}
}

// members returns what the table p holds, or false if p is something else. The
// type is asked for first, because the library decodes anything that is not a
// table into a map without a word and leaves it empty.
func members(md *toml.MetaData, p toml.Primitive) (m map[string]toml.Primitive, ok bool) {
	if _, ok = value(md, p).(map[string]any); !ok {
		return nil, false
	}
	return m, md.PrimitiveDecode(p, &m) == nil
}

// value returns what p holds. Decoding into any cannot fail.
func value(md *toml.MetaData, p toml.Primitive) (v any) {
	_ = md.PrimitiveDecode(p, &v)
	return v
}

// names returns the first column of a table of keys.
func names[T any](keys []key[T]) []string {
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = k.name
	}
	return out
}

// maxDuplicates ends the search for more; a file with as many keys given
// twice was concatenated by accident.
const maxDuplicates = 50

// decode parses TOML. The parser stops at the first error. That is right for
// a syntax error, after which everything is guesswork, but a key given twice
// leaves the rest readable: it is blanked out and the text parsed again, which
// finds the other mistakes as well.
func (b *builder) decode(file string, text []byte, tree *map[string]toml.Primitive) (toml.MetaData, bool) {
	for range maxDuplicates {
		*tree = nil
		md, err := toml.Decode(string(text), tree)
		if err == nil {
			return md, true
		}
		pe, ok := errors.AsType[toml.ParseError](err)
		if !ok {
			b.mistake(Mistake{File: file, Problem: err.Error()})
			return md, false
		}
		m := Mistake{File: file, Line: pe.Position.Line, Problem: "is not TOML: " + strings.TrimPrefix(pe.Message, "toml: ")}
		duplicate := strings.HasSuffix(pe.Message, "has already been defined.")
		if duplicate {
			_, quotedKey, _ := strings.Cut(pe.Message, "'")
			m.Key, m.Problem = strings.TrimSuffix(quotedKey, "' has already been defined."), "given twice in one file"
		}
		b.mistake(m)
		b.spoil(m.Key)
		if !duplicate || !blank(text, pe.Position.Line) {
			return md, false
		}
	}
	return toml.MetaData{}, false
}

// spoil marks the service a key belongs to as broken.
func (b *builder) spoil(path string) {
	part := strings.SplitN(path, ".", 3)
	if len(part) > 1 && part[0] == "service" {
		b.broken[part[1]] = true
	}
}

// blank overwrites the given line with spaces, for a header also what is below it
// up to the next one. It reports false when the line is no statement by
// itself, that is, part of a value over several lines.
func blank(text []byte, line int) bool {
	lines := bytes.SplitAfter(text, []byte("\n"))
	if line < 1 || line > len(lines) || len(bytes.TrimSpace(lines[line-1])) == 0 ||
		toml.Unmarshal(lines[line-1], &map[string]any{}) != nil {
		return false
	}
	header := func(l []byte) bool { return bytes.HasPrefix(bytes.TrimLeft(l, " \t"), []byte("[")) }
	body := header(lines[line-1])
	for i := line - 1; i == line-1 || body && i < len(lines) && !header(lines[i]); i++ {
		for j, c := range lines[i] {
			if c != '\n' {
				lines[i][j] = ' '
			}
		}
	}
	return true
}

// suggest returns `, did you mean "X"?` for the closest of words, if any is
// close: one or two letters wrong, and not most of a short word.
func suggest(s string, words []string) string {
	best, at := 3, ""
	for _, w := range words {
		if d := distance(s, w); d < best && d*2 < len(w) {
			best, at = d, w
		}
	}
	if at == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", at)
}

// distance counts the letters to insert, delete or replace between a and b
// (Levenshtein), row by row.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := corner
			if a[i] != b[j] {
				cost++
			}
			corner = row[j+1]
			row[j+1] = min(cost, row[j]+1, corner+1)
		}
	}
	return row[len(b)]
}
