// SPDX-License-Identifier: Apache-2.0

package daemon_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// edgeTables are the lists of what goes wrong in programs of this kind, with
// how many cases each has: a row does not disappear with the test it names.
var edgeTables = map[string]int{"../evloop/EDGES.md": 98, "../systemd/EDGES.md": 113}

var (
	edgeRow  = regexp.MustCompile(`^\| (\d+) \| (.+) \| (.+) \|$`)
	edgeName = regexp.MustCompile("`([^`]+)`")
)

// TestEdgeTables fails when a case names a test that is not there.
func TestEdgeTables(t *testing.T) {
	tests := testsByPackage(t)
	for file, want := range edgeTables {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		rows := 0
		for line := range strings.Lines(string(b)) {
			m := edgeRow.FindStringSubmatch(strings.TrimRight(line, "\n"))
			if m == nil {
				continue
			}
			if rows++; m[1] != strconv.Itoa(rows) {
				t.Errorf("%s: row %s comes where %d should", file, m[1], rows)
			}
			names := edgeName.FindAllStringSubmatch(m[3], -1)
			if len(names) == 0 && !strings.HasPrefix(m[3], "cannot") {
				t.Errorf("%s, row %s: names no test in `backquotes` and does not begin with \"cannot\"", file, m[1])
			}
			for _, n := range names {
				if problem := tests.find(n[1]); problem != "" {
					t.Errorf("%s, row %s (%s): %s: %s; if it was renamed, rename it here, if it is gone, name what holds the case now",
						file, m[1], m[2], n[1], problem)
				}
			}
		}
		if rows != want {
			t.Errorf("%s has %d cases, not %d", file, rows, want)
		}
	}
}

// A testIndex is what the test files of each package have: functions, and
// literals, among which are the names of cases. Packages go by the last
// element of their path.
type testIndex map[string]map[string]bool

func testsByPackage(t *testing.T) testIndex {
	index := testIndex{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		pkg := filepath.Base(filepath.Dir(path))
		if index[pkg] == nil {
			index[pkg] = map[string]bool{}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				index[pkg]["func "+n.Name.Name] = true
			case *ast.BasicLit:
				if s, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
					index[pkg][s] = true
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return index
}

// find returns what is wrong with a name, or "".
func (index testIndex) find(name string) (problem string) {
	for prefix, path := range map[string]string{
		"script ": "cmd/penstock/testdata/script/%.txtar", "booted ": "../packaging/test/cases/%.sh",
	} {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			path = strings.Replace(path, "%", rest, 1)
			if _, err := os.Stat(path); err != nil {
				return "there is no file " + path
			}
			return ""
		}
	}
	test, sub, isCase := strings.Cut(name, "/")
	pkg, function, _ := strings.Cut(test, ".")
	switch {
	case index[pkg] == nil:
		return "no package " + pkg + " has tests"
	case !index[pkg]["func "+function]:
		return "package " + pkg + " has no test " + function
	case isCase && !index[pkg][sub]:
		return "no test of package " + pkg + " has a case of that name"
	}
	return ""
}
