// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"penstock/daemon/internal/report"
)

// TestManual keeps penstock(8) in step with the code: every reason a client can
// be refused or cut for is in it.
func TestManual(t *testing.T) {
	page := string(mustRead(t, "man/penstock.8"))
	for _, r := range append(report.Refusals(), report.Ends()...) {
		if !regexp.MustCompile(`(?m)^\.It Cm .*\b` + r.String() + `\b`).MatchString(page) {
			t.Errorf("reason %s is not in the manual", r)
		}
	}
	for _, r := range report.Losses() {
		if !regexp.MustCompile(`(?m)^\.Cm ` + r.String() + `\b`).MatchString(page) {
			t.Errorf("the manual does not say that messages can be lost by %s", r)
		}
	}
}

// TestManualFields: DIAGNOSTICS lists the fields of the log, all that the
// sources name and no others.
func TestManualFields(t *testing.T) {
	_, section, _ := strings.Cut(string(mustRead(t, "man/penstock.8")), "\n.Sh DIAGNOSTICS\n")
	section, _, _ = strings.Cut(section, "\n.Sh ")
	listed := map[string]bool{}
	for _, item := range regexp.MustCompile(`(?m)^\.It Dv (.*)$`).FindAllStringSubmatch(section, -1) {
		for name := range strings.SplitSeq(item[1], " , ") {
			listed[name] = true
		}
	}
	logged := map[string]string{} // field: where it is logged
	for _, root := range []string{".", "../systemd"} {
		err := filepath.WalkDir(root, func(dir string, d fs.DirEntry, err error) error {
			if err == nil && (filepath.Base(dir) == "penstock-web" || filepath.Base(dir) == "penstock-mqtt") {
				return fs.SkipDir // their own pages have their few records
			}
			if err == nil && d.IsDir() {
				addFields(t, dir, logged)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(logged) < 40 {
		t.Fatalf("only %d fields found, this test does not see them any more", len(logged))
	}
	for name, where := range logged {
		if !listed[name] {
			t.Errorf("%s: field %s is not in the manual", where, name)
		}
	}
	for name := range listed {
		if logged[name] == "" {
			t.Errorf("the manual lists field %s, which nothing logs", name)
		}
	}
}

// addFields adds the keys of all attributes that the sources in dir make.
func addFields(t *testing.T, dir string, logged map[string]string) {
	t.Helper()
	paths, err := filepath.Glob(dir + "/*.go")
	if err != nil {
		t.Fatal(err)
	}
	files, parsed, constants := token.NewFileSet(), []*ast.File{}, map[string]string{}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, file)
		addConstants(file, constants)
	}
	for _, file := range parsed {
		ast.Inspect(file, func(n ast.Node) bool {
			if key := bareKey(n); key != nil {
				t.Errorf("%s: a key and a value are not an attribute", files.Position(key.Pos()))
			}
			key := attrKey(n)
			if key == nil {
				return true
			}
			where, name := files.Position(key.Pos()).String(), constants[types.ExprString(key)]
			if lit, ok := key.(*ast.BasicLit); ok {
				name, _ = strconv.Unquote(lit.Value)
			}
			if name == "" {
				t.Errorf("%s: the key is neither a literal nor a constant of the package", where)
			}
			logged[strings.ToUpper(name)] = where
			return true
		})
	}
}

// addConstants adds the file's constants that are strings, by name.
func addConstants(file *ast.File, constants map[string]string) {
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Names) != 1 || len(spec.Values) != 1 {
			return true
		}
		if lit, ok := spec.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
			constants[spec.Names[0].Name], _ = strconv.Unquote(lit.Value)
		}
		return true
	})
}

// attrMakers are the functions of log/slog that make an attribute of a key and
// a value.
var attrMakers = []string{"Any", "Bool", "Duration", "Float64", "Int", "Int64", "String", "Time", "Uint64"}

// attrKey returns the key if n makes an attribute: slog.Int("fd", 3).
func attrKey(n ast.Node) ast.Expr {
	call, ok := n.(*ast.CallExpr)
	if !ok || len(call.Args) != 2 {
		return nil
	}
	if pkg, name, ok := strings.Cut(types.ExprString(call.Fun), "."); !ok || pkg != "slog" || !slices.Contains(attrMakers, name) {
		return nil
	}
	return call.Args[0]
}

// bareKey returns the first of a logger's arguments that is a key without
// slog.Int or its like around it: log.Info("message", "fd", 3).
func bareKey(n ast.Node) ast.Expr {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return nil
	}
	fn, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	skip := 1 // the message
	switch fn.Sel.Name {
	case "With":
		skip = 0
	case "Debug", "Info", "Warn", "Error":
	default:
		return nil
	}
	for _, arg := range call.Args[min(skip, len(call.Args)):] {
		if lit, ok := arg.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			return lit
		}
	}
	return nil
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
