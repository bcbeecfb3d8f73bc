// SPDX-License-Identifier: Apache-2.0

package toml

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// What goes on after a problem, and on which line each is.
func TestProblems(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"a name given twice", "a = 1\na = 2\nb = 3\nb = [\n]\n", []string{
			"2: a: given twice in one file, first in line 1", "4: b: given twice in one file, first in line 3",
		}},
		{"a table", "[a]\nb = 1\n[a]\nb = 2\nb = 3\n", []string{
			"3: a: given twice in one file, first in line 1", "5: a.b: given twice in one file, first in line 4",
		}},
		{"in braces, which are the whole table", "[a]\nb = {c = 1, c = 2}\nb.d = 1\n[a.b.e]\n[a.b]\n", []string{
			"2: a.b.c: given twice in one file, first in line 2",
			"3: mild: a.b: is complete since line 2; it is added to all the same",
			"4: mild: a.b: is complete since line 2; it is added to all the same",
			"5: a.b: given twice in one file, first in line 2",
		}},
		{"a header and keys with dots for one table", "[a]\nb.c = 1\n[a.b]\nd = 1\n[e.f]\n[e]\nf.g = 1\nf = 2\n[a.b]\n", []string{
			"3: mild: a.b: is complete since line 2; it is added to all the same",
			"7: mild: e.f: is complete since line 5; it is added to all the same",
			"8: e.f: given twice in one file, first in line 5",
			"9: a.b: given twice in one file, first in line 2",
		}},
		{"a value for what keys have made a table", "a.b = 1\na = 2\na = {c = 1}\nd = 1\nd.e = 1\n", []string{
			"2: mild: a: is a table since line 1, and this value is ignored",
			"3: a: given twice in one file, first in line 1",
			"5: d: has its value in line 4, nothing can be added to it",
		}},
		{"what TOML 1.1 allows", "\uFEFFa = {\n b = \"\\x41\\e\", # c\n}\nd = 07:32\n", nil},
		{"a table that does not end", "a = {\nb = 1,\n", []string{"1: is not TOML: a table without } at its end"}},
		{"a word", "a = 64KiB # size\nb = [1, x]\nc = 99999999999999999999\n[d]\ne = 2020-13-01\n", []string{
			`1: a: is not TOML: "64KiB" is no value; a text stands in quotes`,
			`2: b: is not TOML: "x" is no value; a text stands in quotes`,
			`3: c: is not TOML: "99999999999999999999" is beyond 64 bits`,
			`5: d.e: is not TOML: "2020-13-01" is no value; a text stands in quotes`,
		}},
		{"what comes after a value", "a = \"1\";\nb = 0x\n", []string{
			`1: is not TOML: ";" after the end of the value`,
			`2: b: is not TOML: "0x" is no value; a text stands in quotes`,
		}},
		{"a text that does not end", "a = 1\nb = '''\nc\n", []string{"2: is not TOML: a text without ''' at its end"}},
		{"an array that does not end", "a = [\n1,\n2", []string{"1: is not TOML: an array without ] at its end"}},
		{"a control character", "a = \"\x1b\"", []string{"1: is not TOML: control character 0x1b"}},
		{"Latin-1", "# \xfc\n", []string{"1: is not TOML: byte 0xfc, which is not UTF-8"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, got := read(tt.text)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%q, -want +got:\n%s", tt.text, diff)
			}
		})
	}
}

// What was given twice is there to be checked, after the first.
func TestAgain(t *testing.T) {
	root, _ := read("[a]\nb = 1\n[a]\nc = 2\n")
	var tables []*Table
	for _, e := range root.All() {
		tables = append(tables, e.Value.(*Table))
	}
	if len(tables) != 2 || !root.at(1).Again || tables[1].at(0).Name != "c" {
		t.Errorf("%+v, want both tables", tables)
	}
	if v, _ := root.Get("a"); v != any(tables[0]) {
		t.Errorf("Get returns %v, want the first", v)
	}
}

// hostile texts of n bytes or more; each cost more than its length once, in
// this parser or in another.
var hostile = map[string]func(n int) string{
	"open brackets":     func(n int) string { return "a = " + strings.Repeat("[", n) },
	"open braces":       func(n int) string { return "a = " + strings.Repeat("{a=", n/3) },
	"dots":              func(n int) string { return strings.Repeat("a.", n/2) + "a = 1" },
	"dots in a header":  func(n int) string { return "[" + strings.Repeat("a.", n/2) + "a]" },
	"words on a line":   func(n int) string { return "a = [" + strings.Repeat("1,", n/2) + "]" },
	"wrong words":       func(n int) string { return "a = [" + strings.Repeat("x,", n/2) + "]" },
	"a long word":       func(n int) string { return "a = " + strings.Repeat("1", n) },
	"names given twice": func(n int) string { return strings.Repeat("a=1\n", n/4) },
	"headers":           func(n int) string { return strings.Repeat("[a]\n", n/4) },
	"arrays of tables":  func(n int) string { return strings.Repeat("[[a]]\n", n/6) },
	"quotes":            func(n int) string { return "a = '''" + strings.Repeat("''\n", n/3) + "'''" },
	"escapes":           func(n int) string { return `a = "` + strings.Repeat(`\\`, n/2) + `"` },
	"continued lines":   func(n int) string { return `a = """` + strings.Repeat("\\\n", n/2) + `"""` },
	"blanks and ends":   func(n int) string { return "a = \"\"\"\\" + strings.Repeat(" \n", n/2) + `"""` },
	"comments":          func(n int) string { return "a = [" + strings.Repeat("#\n", n/2) + "]" },
	"many names": func(n int) string {
		var b strings.Builder
		for i := 0; b.Len() < n; i++ {
			fmt.Fprintf(&b, "a%d = 1\n", i)
		}
		return b.String()
	},
	"a long name": func(n int) string { return strings.Repeat("a", n) + " = 1\n" },
}

// The work is linear in the text: a megabyte takes some hundredths of a second.
// One that is a square takes minutes. It is the time of the processor that is
// measured, since a machine may be busy with something else.
func TestLinear(t *testing.T) {
	size := 1 << 20
	if testing.Short() { // the race detector makes it ten times as long
		size /= 8
	}
	for name, text := range hostile {
		began := worked(t)
		_, _, _ = Parse(text(size), Options{Report: func(Problem) {}})
		if took := worked(t) - began; took > 5*time.Second {
			t.Errorf("%s: %d bytes take %v", name, size, took)
		}
	}
}

// worked returns the time that this process has had of the processors.
func worked(t *testing.T) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Whoever pauses comes to it every few kilobytes, and can end the reading.
func TestPause(t *testing.T) {
	text := strings.Repeat("[[a]]\nb = [1, 2, 3]\nc = \"\"\"\nx\n\"\"\"\n", 2000)
	pauses := 0
	_, whole, err := Parse(text, Options{Report: func(p Problem) { t.Errorf("%+v", p) }, Pause: func() error { pauses++; return nil }})
	if want := len(text) / pauseEvery; !whole || err != nil || pauses < want*3/4 {
		t.Errorf("%v, %v, %d pauses in %d bytes, want about %d", whole, err, pauses, len(text), want)
	}
	stop := errors.New("stop")
	_, whole, err = Parse(text, Options{Report: func(Problem) {}, Pause: func() error { return stop }})
	if whole || err != stop {
		t.Errorf("%v, %v, want what Pause returned", whole, err)
	}
}

// A table of many entries is as one of few: all are there, in order, and each is
// found by its name.
func TestManyEntries(t *testing.T) {
	const n = 3*chunk + 1
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "k%d = %d\n", i, i)
	}
	root, problems := read(text.String() + "k7 = -1\n")
	if len(problems) != 1 || root.Len() != n+1 {
		t.Fatalf("%d entries, problems %v; want %d, and one name twice", root.Len(), problems, n+1)
	}
	for i, e := range root.All() {
		if want := int64(i); i < n && (e.Name != fmt.Sprintf("k%d", i) || e.Value != any(want) || e.Again) {
			t.Fatalf("entry %d is %+v", i, e)
		}
		if v, ok := root.Get(e.Name); !ok || i < n && v != any(int64(i)) {
			t.Fatalf("Get(%s) = %v, %t", e.Name, v, ok)
		}
	}
	if last := root.at(n); !last.Again || last.Value != any(int64(-1)) {
		t.Errorf("the last entry is %+v, want k7 again", last)
	}
}

// TestDrain: a table that is drained yields each entry once, and holds none any more.
func TestDrain(t *testing.T) {
	var table Table
	const n = 2*chunk + 3
	for i := range n {
		table.add(Entry{Name: strconv.Itoa(i), Line: i})
	}
	next := 0
	for i, e := range table.Drain() {
		if i != next || e.Line != i || e.Name != strconv.Itoa(i) {
			t.Fatalf("entry %d is %d, %v", next, i, e)
		}
		next++
	}
	if _, ok := table.Get("0"); next != n || table.Len() != 0 || ok {
		t.Errorf("%d entries, %d are left, want %d and none", next, table.Len(), n)
	}
}
