// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"penstock/daemon/internal/toml"
)

// A text becomes a flat list of entries, one for each known key that has a value.
// Mistakes in keys are reported here, mistakes in values when the keys are
// set.

// An entry is one key of one file, or the header of a service.
type entry struct {
	file    string
	line    int
	section string // one of sections
	service string // its name, in section service
	key     string // "" is the header of a service
	value   any
}

// String returns the path of the key, for mistakes.
func (e entry) String() string {
	path := toml.Path{e.section}
	if e.section == "service" && e.service != "" {
		path = append(path, e.service)
	}
	if e.key != "" {
		path = append(path, e.key)
	}
	return path.String()
}

// sections are the tables that a file may have.
var sections = []string{"limits", "log", "loop", "control", "web", "mqtt", "service"}

// parse adds the entries of one text. A text that cannot be read to its end adds
// none: half of a file may mean the opposite of the whole.
func (b *builder) parse(file, text string) {
	b.files = append(b.files, file)
	root, whole := b.decode(file, text)
	if !whole {
		b.unread()
		return
	}
	for _, top := range root.All() {
		e := entry{file: file, line: top.Line, section: top.Name, value: top.Value}
		switch top.Name {
		case "limits":
			b.keys(e, names(limitKeys))
		case "log":
			b.keys(e, names(logKeys))
		case "loop":
			b.keys(e, names(loopKeys))
		case "control":
			b.keys(e, names(controlKeys))
		case "web":
			b.keys(e, names(webKeys))
		case "mqtt":
			b.keys(e, names(mqttKeys))
		case "service":
			b.services(e)
		default:
			b.wrong(e, fmt.Errorf("unknown, want one of %s%s", strings.Join(sections, ", "), suggest(top.Name, sections)))
		}
	}
}

// decode reads TOML and records its syntax errors. whole is false when the text
// cannot be read to its end.
func (b *builder) decode(file, text string) (root *toml.Table, whole bool) {
	if strings.TrimSpace(text) == "" {
		b.mistake(Mistake{File: file, Problem: emptied, nothing: true})
		return nil, false
	}
	if len(text) > usualFile {
		b.collectOften()
	}
	root, whole, err := toml.Parse(text, toml.Options{Depth: maxDepth, Pause: b.rest, Report: func(p toml.Problem) {
		m := Mistake{File: file, Line: p.Line, Problem: p.Text}
		if p.Key != nil {
			m.Key = p.Key.String()
		}
		if p.Mild {
			b.warnings.add(m)
			return
		}
		if len(p.Key) > 1 && p.Key[0] == "service" {
			b.broken[p.Key[1]] = true
		} else {
			b.unread()
		}
		b.mistake(m)
	}})
	b.gaveUp = err
	return root, whole
}

// maxDepth is far more than any key needs: service.x.answers."a question" has
// four names.
const maxDepth = 16

// emptied is the mistake of an empty file. Such a file most often comes from a power
// cut or an editor.
const emptied = "is empty, as a power cut leaves a file (a drop-in that is to hold nothing needs a comment)"

// isName keeps a name usable as part of a unit's name and as the
// FileDescriptorName= of its socket: [a-z][a-z0-9_-]{0,31}.
func isName(s string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	return s != "" && len(s) <= 32 && strings.Contains(letters, s[:1]) && strings.Trim(s, letters+"0123456789_-") == ""
}

// reserved names are used by units of the package: penstock-NAME.service.
var reserved = []string{"config-error", "keep-units"}

// kept names are those of sockets that the packages have, or will have:
// penstock-NAME.socket. 0.1.0 took them for services, so they are still served.
var keptNames = map[string]string{
	"control": "is the name of the control socket, which the service takes the place of",
	"web":     "is kept for the companion penstock-web; a later version may refuse it",
	"mqtt":    "is kept for the companion penstock-mqtt; a later version may refuse it",
}

// services adds the entries below "service".
func (b *builder) services(e entry) {
	tables, ok := e.value.(*toml.Table)
	if !ok {
		b.wrong(e, wrongType(e.value, "tables such as [service.NAME]"))
		return
	}
	known := serviceKeyNames()
	for _, one := range tables.All() {
		e := e
		if b.named[one.Name] = true; len(b.named) > maxServices {
			b.mistake(Mistake{File: e.file, Line: one.Line, Problem: fmt.Sprintf("more than %d services", maxServices)})
			return
		}
		e.service, e.line, e.value = one.Name, one.Line, one.Value
		switch {
		case one.Name == "": // the path of an entry cannot hold an empty name
			b.mistake(Mistake{File: e.file, Line: e.line, Key: toml.Path{e.section, ""}.String(), Problem: notName})
			continue
		case !isName(one.Name):
			b.wrong(e, errors.New(notName))
		case slices.Contains(reserved, one.Name):
			b.wrong(e, errors.New("is a name that a unit of the package has"))
		case keptNames[one.Name] != "":
			b.warn(e, errors.New(keptNames[one.Name]))
		}
		b.keys(e, known)
	}
}

// maxServices is the most that a service manager can pass if their names have three
// letters. All names are in one string of the environment, and the kernel allows
// 128 KiB for it (MAX_ARG_STRLEN, execve(2)). A service of any kind costs some
// kilobytes.
const maxServices = 1 << 15

const notName = "is not a name: want a lower-case letter, then up to 31 of a-z 0-9 _ -"

// keys adds an entry for each known key of the table e, and one for its header.
func (b *builder) keys(e entry, known []string) {
	table, ok := e.value.(*toml.Table)
	if !ok {
		b.wrong(e, wrongType(e.value, "a table"))
		return
	}
	b.entries = append(b.entries, e)
	for i, one := range table.All() {
		if i%64 == 0 && b.rest() != nil {
			return
		}
		if !slices.Contains(known, one.Name) {
			b.unknown(e, one, known)
			continue
		}
		e := e
		e.key, e.line, e.value = one.Name, one.Line, one.Value
		b.entries = append(b.entries, e)
	}
}

// unknown records that one is no key of the table e.
func (b *builder) unknown(e entry, one toml.Entry, known []string) {
	b.spoil(e)
	if b.mistakes.full() {
		b.mistakes.more++ // the search for a similar name would cost too much
		return
	}
	path := toml.Path{e.section, one.Name}
	if e.service != "" {
		path = toml.Path{e.section, e.service, one.Name}
	}
	b.mistake(Mistake{File: e.file, Line: one.Line, Key: path.String(), Problem: "unknown key" + suggest(one.Name, known)})
}

// names returns the first column of a table of keys.
func names[T any](keys []key[T]) []string {
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = k.name
	}
	return out
}

// suggest returns `, did you mean "X"?` for the closest of words, if any is
// close: one or two letters wrong, and not most of a short word.
func suggest(s string, words []string) string {
	const near = 3
	best, at := near, ""
	for _, w := range words {
		if len(s) >= len(w)+near {
			continue // too different; this also skips very long names
		}
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
