// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"penstock/daemon/internal/text"
)

// A Mistake is one thing that is wrong with the configuration.
type Mistake struct {
	File    string // "" for the count of what is not listed
	Line    int    // 0 when it is not one line's fault, such as a missing key
	Key     string // "service.lobby.queue"; "" when it is about the whole file
	Problem string

	nothing bool // the file is empty or describes no service
}

// A Warning is a setting that may have another effect than its author thinks. Problem
// says which effect.
type Warning Mistake

// String returns "FILE:LINE: KEY: warning: PROBLEM", see [Mistake.String].
func (w Warning) String() string {
	w.Problem = "warning: " + w.Problem
	return Mistake(w).String()
}

// Warnings are in the order of files and lines; after the first hundred, how
// many more there are.
type Warnings []Warning

// String returns one warning a line; each line ends in a newline.
func (w Warnings) String() string {
	var b strings.Builder
	for _, one := range w {
		b.WriteString(one.String())
		b.WriteByte('\n')
	}
	return b.String()
}

// ErrNothing matches an [Errors] (errors.Is) if its only mistakes are that no service
// is described or that a file is empty. A power cut, an editor or a full disk leaves
// such files.
var ErrNothing = errors.New("no service is described")

// String returns "FILE:LINE: KEY: PROBLEM" without the parts that are empty, on
// one line, with nothing in it that a terminal would take for a command or
// write in another direction.
func (m Mistake) String() string {
	var b strings.Builder
	b.WriteString(m.File)
	if m.Line > 0 {
		fmt.Fprintf(&b, ":%d", m.Line)
	}
	for _, part := range []string{m.Key, m.Problem} {
		if part == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteString(": ")
		}
		b.WriteString(part)
	}
	return text.Escape(b.String())
}

// Errors is every mistake found, in the order of files and lines; after the
// first hundred, how many more there are. Match it with errors.AsType.
type Errors []Mistake

// Error returns one mistake a line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, m := range e {
		lines[i] = m.String()
	}
	return strings.Join(lines, "\n")
}

// Is reports whether target is ErrNothing and all mistakes are of that sort.
func (e Errors) Is(target error) bool {
	return target == ErrNothing && !slices.ContainsFunc(e, func(m Mistake) bool { return !m.nothing })
}

const (
	// maxMistakes is more than anybody mends at once. If every line of a file is wrong,
	// it was not written for this program.
	maxMistakes = 100
	// maxQuoted bounds each part of a mistake, which may quote the file.
	maxQuoted = 500
)

// found holds mistakes or warnings: the first hundred, and how many more.
type found struct {
	list []Mistake
	more int
}

func (f *found) add(m Mistake) {
	if f.full() {
		f.more++
		return
	}
	m.Key, m.Problem = shorten(m.Key), shorten(m.Problem)
	f.list = append(f.list, m)
}

// full reports whether the list is full. Further mistakes are only counted.
func (f *found) full() bool { return len(f.list) >= maxMistakes }

func (f *found) count() int { return len(f.list) + f.more }

func (b *builder) mistake(m Mistake) { b.mistakes.add(m) }

func shorten(s string) string {
	if len(s) <= maxQuoted {
		return s
	}
	return strings.ToValidUTF8(s[:maxQuoted], "") + "..."
}

// sorted returns them in the order of files, lines and keys, and the count of
// those left out.
func (f *found) sorted(files []string) []Mistake {
	order := make(map[string]int, len(files))
	for i, f := range files {
		order[f] = i + 1
	}
	// Package slices would bring another copy of the code, for this type.
	sort.SliceStable(f.list, func(i, j int) bool {
		x, y := f.list[i], f.list[j]
		return cmp.Or(cmp.Compare(order[x.File], order[y.File]), cmp.Compare(x.Line, y.Line), cmp.Compare(x.Key, y.Key)) < 0
	})
	if f.more > 0 {
		f.list = append(f.list, Mistake{Problem: fmt.Sprintf("and %d more", f.more)})
	}
	return f.list
}

// warned returns the warnings.
func (b *builder) warned() (out Warnings) {
	for _, m := range b.warnings.sorted(b.files) {
		out = append(out, Warning(m))
	}
	return out
}

// problems gathers the mistakes in the items of one value. Like the list of mistakes
// it only counts those after the first hundred.
type problems struct {
	errs []error
	more int
}

func problemsOf(err error) (p problems) {
	p.add(err)
	return p
}

// add takes err unless it is nil, and each of the errors if it is several.
func (p *problems) add(err error) {
	switch several, ok := err.(*problems); {
	case err == nil:
	case ok:
		p.errs, p.more = append(p.errs, several.errs...), p.more+several.more
	case len(p.errs) >= maxMistakes:
		p.more++
	default:
		p.errs = append(p.errs, err)
	}
}

// err returns p as an error, or nil if there is none.
func (p *problems) err() error {
	if len(p.errs) == 0 {
		return nil
	}
	return p
}

func (p *problems) Error() string { return errors.Join(p.errs...).Error() }
