// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Mistake is one thing that is wrong with the configuration.
type Mistake struct {
	File    string
	Line    int    // 0 when it is not one line's fault, such as a missing key
	Key     string // "service.lobby.queue"; "" when it is about the whole file
	Problem string
}

// String returns "FILE:LINE: KEY: PROBLEM" without the parts that are empty.
// Control characters are escaped, for a key may hold any.
func (m Mistake) String() string {
	var b strings.Builder
	b.WriteString(m.File)
	if m.Line > 0 {
		fmt.Fprintf(&b, ":%d", m.Line)
	}
	b.WriteString(": ")
	if m.Key != "" {
		b.WriteString(m.Key + ": ")
	}
	b.WriteString(m.Problem)
	return escape(b.String())
}

// Errors is every mistake found, in the order of files and lines. Match it
// with errors.AsType.
type Errors []Mistake

// Error returns one mistake a line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, m := range e {
		lines[i] = m.String()
	}
	return strings.Join(lines, "\n")
}

// escape keeps a mistake on its line and a terminal safe.
func escape(s string) string {
	if !strings.ContainsFunc(s, isControl) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if isControl(r) {
			fmt.Fprintf(&b, `\x%02x`, r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// sorted returns e ordered by file, as read, line and key.
func (e Errors) sorted(files []string) Errors {
	slices.SortStableFunc(e, func(a, b Mistake) int {
		return cmp.Or(
			cmp.Compare(slices.Index(files, a.File), slices.Index(files, b.File)),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Key, b.Key),
		)
	})
	return e
}
