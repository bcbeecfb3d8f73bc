// SPDX-License-Identifier: Apache-2.0

package toml

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	library "github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
)

// read parses text and returns its problems, a line each.
func read(text string) (*Table, []string) {
	var problems []string
	t, whole, err := Parse(text, Options{Report: func(p Problem) {
		line := fmt.Sprintf("%d: ", p.Line)
		if p.Mild {
			line += "mild: "
		}
		if p.Key != nil {
			line += p.Key.String() + ": "
		}
		problems = append(problems, line+p.Text)
	}})
	if !whole && len(problems) == 0 || err != nil {
		problems = append(problems, fmt.Sprintf("not whole and nothing said, %v", err))
	}
	return t, problems
}

// plain turns what Parse returns into what the library returns.
func plain(v any) any {
	switch v := v.(type) {
	case *Table:
		m := map[string]any{}
		for _, e := range v.All() {
			m[e.Name] = plain(e.Value)
		}
		return m
	case Tables:
		list := []any{}
		for _, t := range v {
			list = append(list, plain(t))
		}
		return list
	case []any:
		list := []any{}
		for _, e := range v {
			list = append(list, plain(e))
		}
		return list
	case Time:
		return "time"
	case float64:
		if math.IsNaN(v) {
			return "nan"
		}
	}
	return v
}

// plainLibrary does the same with the library's own.
func plainLibrary(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for k, e := range v {
			m[k] = plainLibrary(e)
		}
		return m
	case []map[string]any:
		list := []any{}
		for _, e := range v {
			list = append(list, plainLibrary(e))
		}
		return list
	case []any:
		list := []any{}
		for _, e := range v {
			list = append(list, plainLibrary(e))
		}
		return list
	case time.Time:
		return "time"
	case float64:
		if math.IsNaN(v) {
			return "nan"
		}
	}
	return v
}

// suite returns the folder of the examples that toml-test collects and the
// library brings in its sources.
func suite(t testing.TB) string {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/BurntSushi/toml").Output()
	dir := filepath.Join(strings.TrimSpace(string(out)), "internal/toml-test/tests")
	if _, statErr := os.Stat(dir); errors.Join(err, statErr) != nil {
		t.Skip("the library's sources are not here: ", err, statErr)
	}
	return dir
}

// earlier names the examples of what TOML 1.0 does not allow and 1.1 does.
var earlier = map[string]bool{
	"invalid/datetime/no-secs.toml":            true,
	"invalid/inline-table/linebreak-01.toml":   true,
	"invalid/inline-table/linebreak-02.toml":   true,
	"invalid/inline-table/linebreak-03.toml":   true,
	"invalid/inline-table/linebreak-04.toml":   true,
	"invalid/inline-table/trailing-comma.toml": true,
	"invalid/local-datetime/no-secs.toml":      true,
	"invalid/local-time/no-secs.toml":          true,
	"invalid/string/basic-byte-escapes.toml":   true,
}

// TestSuite: all that the examples call valid is read as the library reads it,
// and each of the rest has a problem.
func TestSuite(t *testing.T) {
	dir := suite(t)
	seen := 0
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		kind, _, isExample := strings.Cut(name, "/")
		if err != nil || !isExample || !strings.HasSuffix(name, ".toml") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		seen++
		tree, problems := read(string(text))
		if valid := kind == "valid" || earlier[name]; valid != (problems == nil) {
			t.Errorf("%s: problems %q\n%s", name, problems, text)
			return nil
		} else if !valid {
			return nil
		}
		var want any
		if _, err := library.Decode(string(text), &want); err != nil {
			t.Logf("%s: the library refuses it: %v", name, err)
			return nil
		}
		if diff := cmp.Diff(plainLibrary(want), plain(tree)); diff != "" {
			t.Errorf("%s: -library +here\n%s", name, diff)
		}
		return nil
	})
	if err != nil || seen < 300 {
		t.Errorf("%d examples, %v, want some hundred", seen, err)
	}
}

// FuzzParse: what is accepted means the same to the library, and what the library
// accepts, as files in use were, is accepted here, mildly if need be. What is not
// has problems, each on a line that there is, and nothing nests deeper than
// allowed.
func FuzzParse(f *testing.F) {
	f.Add("[a.b]\nc = 1\n[a]\nd.e = {f = [\"x\", 'y']}\n[[g]]\n[[g]]\n")
	f.Add("a = 1979-05-27T07:32:00.5-07:00\na = 0x_1\nb = \"\\u00e9\\\\\"\nc = \"\"\"\\\n x\"\"\"\"\"\n")
	f.Add("a = 64KiB\nb = [7000, 127.0.0.1:1]\n\"\\u0085\" = +nan # c\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		tree, problems := read(text)
		if again, p := read(text); !cmp.Equal(problems, p) || !cmp.Equal(plain(tree), plain(again)) {
			t.Errorf("%q is read differently the second time", text)
		}
		if d := depth(tree); d > defaultDepth {
			t.Errorf("%q is %d deep", text, d)
		}
		for _, p := range problems {
			var line int
			fmt.Sscan(p, &line)
			if line < 1 || line > strings.Count(text, "\n")+1 {
				t.Errorf("%q: problem %q on no line of it", text, p)
			}
		}
		var want any
		_, err := library.Decode(text, &want)
		switch hard := slices.IndexFunc(problems, func(p string) bool { return !strings.Contains(p, ": mild: ") }); {
		case problems == nil && err != nil:
			t.Errorf("%q is accepted, not by the library: %v", text, err)
		case err != nil || hard >= 0 && stricter(problems[hard]):
			return
		case hard >= 0:
			t.Errorf("%q is accepted by the library, and not here: %q", text, problems)
			return
		}
		if diff := cmp.Diff(plainLibrary(want), plain(tree)); diff != "" {
			t.Errorf("%q: -library +here\n%s", text, diff)
		}
	})
}

// stricter reports whether a problem is one that the library does not see: no
// key of the daemon has such a value.
func stricter(problem string) bool {
	return strings.Contains(problem, "nested deeper") || strings.Contains(problem, "nothing can be added to it") ||
		strings.Contains(problem, "+12:60")
}

func depth(v any) (deepest int) {
	switch v := v.(type) {
	case *Table:
		for _, e := range v.All() {
			deepest = max(deepest, 1+depth(e.Value))
		}
	case Tables:
		for _, t := range v {
			deepest = max(deepest, depth(t))
		}
	case []any:
		for _, e := range v {
			deepest = max(deepest, 1+depth(e))
		}
	}
	return deepest
}
