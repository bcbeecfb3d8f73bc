// SPDX-License-Identifier: Apache-2.0

package mutationtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A table is a file of mutations:
//
//	## F2 the least debtor pays for the bound over all
//	by evloop ^TestSimulation$ -seeds=500
//	 		if w := o.some[i]; w != 0 {
//	-			b := 64*i + bits.Len64(w) - 1
//	+			b := 64*i + bits.TrailingZeros64(w)
//
// The lines with "-" and " " are found once in all files of the product; those with
// "+" and " " replace them. A line "@@" stands between two such places. Files are
// not named, so that code may move, and comments behind code do not count.
//
// "by" names a package, which of its tests, and further arguments of the test
// binary. {penstock} stands for the path of the command, built with the
// mutation. Of several such lines each has to catch it.

// A mutation is an entry of a table.
type mutation struct {
	title  string // begins with the name of what it is about
	where  string // file and line of the table
	by     []judge
	places []place
}

// A place is where the source is changed.
type place struct{ old, new string } // whole lines

// A judge is what has to fail.
type judge struct {
	pkg  string
	args []string // the pattern of tests comes first
}

// readTables returns the mutations of all files in testdata.
func readTables(t *testing.T) (all []mutation) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no tables: %v", err)
	}
	seen := map[string]string{}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		list, err := parse(name, string(text))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range list {
			if other, ok := seen[m.title]; ok {
				t.Fatalf("%s: the title is that of %s", m.where, other)
			}
			seen[m.title] = m.where
		}
		all = append(all, list...)
	}
	return all
}

// parse reads a table.
func parse(name, text string) (all []mutation, err error) {
	var m *mutation
	n := 0
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		n++
		where := fmt.Sprintf("%s:%d", name, n)
		if title, ok := strings.CutPrefix(line, "## "); ok {
			all = append(all, mutation{title: title, where: where})
			m = &all[len(all)-1]
			continue
		}
		if m == nil || line == "" || line[0] == '#' {
			continue // what stands before the first entry, or between two
		}
		if !m.take(line) {
			return nil, fmt.Errorf("%s: %q is no line of a mutation", where, line)
		}
	}
	for _, m := range all {
		if problem := m.incomplete(); problem != "" {
			return nil, fmt.Errorf("%s: %s", m.where, problem)
		}
	}
	return all, nil
}

// take adds a line to the entry.
func (m *mutation) take(line string) bool {
	word, rest, _ := strings.Cut(line, " ")
	args := strings.Fields(rest)
	switch {
	case line == "@@":
		m.places = append(m.places, place{})
		return true
	case word == "by" && len(args) > 1:
		m.by = append(m.by, judge{args[0], args[1:]})
		return true
	}
	if len(m.places) == 0 {
		m.places = append(m.places, place{})
	}
	p, code := &m.places[len(m.places)-1], bare(line[1:])+"\n"
	switch line[0] {
	case '-':
		p.old += code
	case '+':
		p.new += code
	case ' ':
		p.old += code
		p.new += code
	default:
		return false
	}
	return true
}

// bare returns a line of code without the comment behind it.
func bare(line string) string {
	code, _, _ := strings.Cut(line, " // ")
	return strings.TrimRight(code, " ")
}

// incomplete returns what an entry lacks, or "".
func (m *mutation) incomplete() string {
	row, what, _ := strings.Cut(m.title, " ")
	switch {
	case row == "" || what == "":
		return "the title is to be a name and what goes wrong"
	case len(m.by) == 0:
		return "there is no test that has to fail"
	case len(m.places) == 0:
		return "there is nothing to change"
	}
	for _, p := range m.places {
		if p.old == "" || p.old == p.new {
			return "a place is empty, or changes nothing"
		}
	}
	return ""
}

// TestTables reads the tables, so that a slip in one is seen at once, and so is a change of
// the code that a mutation has not followed.
func TestTables(t *testing.T) {
	product := readProduct(t)
	for _, m := range readTables(t) {
		if _, err := m.mutate(product); err != nil {
			t.Errorf("%s: %v", m.where, err)
		}
		for _, j := range m.by {
			if fi, err := os.Stat(filepath.Join(root, j.pkg)); err != nil || !fi.IsDir() {
				t.Errorf("%s: there is no package %s", m.where, j.pkg)
			}
		}
	}
}

// Comments behind code do not count, and stay as they are elsewhere.
func TestReplace(t *testing.T) {
	p := place{"a(\"\nb\n", "c\n"}
	for text, want := range map[string]string{
		"x // y\na(\" // y\")  // why\nb\nz // y\n": "x // y\nc\nz // y\n",
		"a(\"\nb // why\n":                          "c\n",
		"aa(\"\nb\n":                                "",
		"a(\"\nbb\n":                                "",
	} {
		if got, n := p.replace(text); got != want || n != strings.Count(want, "c") {
			t.Errorf("in %q: %q, %d places, want %q", text, got, n, want)
		}
	}
	if _, n := (place{"b\n", ""}).replace("b\nc\nb\n"); n != 2 {
		t.Errorf("%d places, want 2", n)
	}
}

func TestParseRefuses(t *testing.T) {
	const whole = "## T1 late\nby evloop ^TestX$\n-a  // why\n+b\n"
	if all, err := parse("x", "a table\n\n"+whole+"@@\n c\n-d\n"); err != nil || len(all) != 1 || len(all[0].places) != 2 ||
		all[0].places[1] != (place{"c\nd\n", "c\n"}) {
		t.Errorf("parse = %+v, %v", all, err)
	}
	for _, text := range []string{
		strings.Replace(whole, " late", "", 1),
		strings.Replace(whole, " ^TestX$", "", 1),
		strings.Replace(whole, "-a ", "a ", 1),
		strings.Replace(whole, "-a  // why\n", "", 1),
		strings.Replace(whole, "-a  // why\n+b\n", "", 1),
		whole + "@@\n same\n",
	} {
		if all, err := parse("x", text); err == nil {
			t.Errorf("parse(%q) = %+v", text, all)
		}
	}
}
