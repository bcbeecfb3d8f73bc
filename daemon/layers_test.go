// SPDX-License-Identifier: Apache-2.0

// Rules of the repository that a compiler does not hold. They are tests and
// not a linter's configuration, so that `go test ./...` alone finds a breach.
package daemon_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	module    = "penstock"
	sysPkg    = "golang.org/x/sys"
	goSystemd = "github.com/coreos/go-systemd"
)

// goList returns the fields of each line that `go list args` prints at the
// root of the module.
func goList(t *testing.T, args ...string) [][]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...)
	cmd.Dir = ".."
	// The rules are about what runs on Linux, whatever the developer's machine.
	cmd.Env = append(os.Environ(), "GOOS=linux")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %v: %v\n%s", args, err, stderr.String())
	}
	var rows [][]string
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) > 0 {
			rows = append(rows, f)
		}
	}
	return rows
}

// within reports whether pkg is root or below it.
func within(pkg, root string) bool {
	return pkg == root || strings.HasPrefix(pkg, root+"/")
}

// TestLayers keeps the import graph a tree: evloop and systemd know neither
// each other nor the daemon. It lists what each may know, not what it must not,
// so that a new dependency is a decision and not an accident.
func TestLayers(t *testing.T) {
	tests := []struct {
		pkg     string
		allowed []string
		denied  []string // of the standard library: what the layer must not pull in
	}{
		{"evloop", []string{sysPkg, module + "/evloop"}, []string{"net/http", "crypto/tls"}},
		{"systemd", []string{sysPkg, module + "/systemd", goSystemd}, []string{"net/http", "crypto/tls"}},
	}
	for _, tt := range tests {
		t.Run(tt.pkg, func(t *testing.T) {
			for _, row := range goList(t, "-deps", "-f", "{{.ImportPath}} {{.Standard}}", "./"+tt.pkg+"/...") {
				dep, standard := row[0], row[1] == "true"
				if standard && !slices.Contains(tt.denied, dep) {
					continue
				}
				if standard || !slices.ContainsFunc(tt.allowed, func(a string) bool { return within(dep, a) }) {
					t.Errorf("%s must not depend on %s", tt.pkg, dep)
				}
			}
		})
	}
}

// TestDaemonWithoutWeb: what needs the libraries for the web or for TLS is a companion.
func TestDaemonWithoutWeb(t *testing.T) {
	for _, row := range goList(t, "-deps", "./daemon/cmd/penstock") {
		for _, denied := range []string{"net/http", "crypto/tls", "html/template", "github.com/coder/websocket", "github.com/eclipse/paho.golang"} {
			if within(row[0], denied) {
				t.Errorf("the daemon depends on %s", row[0])
			}
		}
	}
}

// arrows holds, for each package of the daemon, what of this module it imports:
// "cmd" is the command, "config" is daemon/internal/config. evloop and systemd
// are in TestLayers.
var arrows = map[string]string{
	"cmd":               "daemon apply config control kept listen process report systemctl text unit view evloop systemd systemd/journal",
	"cmd/penstock-web":  "config control view systemd systemd/journal",                  // it knows the daemon by the control socket
	"cmd/penstock-mqtt": "boards config control kept text view systemd systemd/journal", // so does this one
	"control":           "view",                                                         // a companion needs no more
	"daemon":            "config control device handover listen process proxyproto record report service text view evloop systemd",
	"service":           "config device follow process proxyproto record report telnet text tty view evloop",
	"device":            "report tty evloop",
	"tty":               "",
	"process":           "report evloop",
	"follow":            "",
	"report":            "config text view evloop systemd",
	"listen":            "config record systemd",
	"handover":          "record", // a queue of descriptors, whoever stores or fills it
	"record":            "",
	"proxyproto":        "",
	"apply":             "config systemctl unit",
	"boards":            "", // whoever has a broker and a clock
	"unit":              "config kept",
	"config":            "kept text toml",
	"kept":              "",
	"systemctl":         "",
	"telnet":            "",
	"text":              "",
	"toml":              "",
	"view":              "", // whoever shows a daemon needs no event loop

	"cmd/penstock-mqtt/brokertest": "",

	"boardstest":        "",
	"faulttest":         "",
	"lantest":           "",
	"mutationtest":      "",
	"listen/listentest": "",
}

// TestArrows: a package imports what its row lists, so that a new arrow is a
// decision and not an accident.
func TestArrows(t *testing.T) {
	short := func(path string) string {
		path = strings.TrimPrefix(strings.TrimPrefix(path, module+"/"), "daemon/internal/")
		if path == "daemon/cmd/penstock" {
			return "cmd"
		}
		return strings.TrimPrefix(path, "daemon/")
	}
	seen := map[string]bool{}
	for _, row := range goList(t, "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./daemon/...") {
		pkg := short(row[0])
		seen[pkg] = true
		var got []string
		for _, imp := range row[1:] {
			if within(imp, module) {
				got = append(got, short(imp))
			}
		}
		want := strings.Fields(arrows[pkg])
		slices.Sort(got)
		slices.Sort(want)
		if _, ok := arrows[pkg]; !ok || !slices.Equal(got, want) {
			t.Errorf("%s imports %v, its row says %v", pkg, got, want)
		}
	}
	for pkg := range arrows {
		if !seen[pkg] {
			t.Errorf("there is no package %s", pkg)
		}
	}
}

// TestGoSystemdHasOneImporter: go-systemd has traps (dropped errors, finalizers
// on descriptors) that package systemd hides; nobody may go around it.
func TestGoSystemdHasOneImporter(t *testing.T) {
	const format = `{{.ImportPath}} {{join .Imports " "}} {{join .TestImports " "}} {{join .XTestImports " "}}`
	for _, row := range goList(t, "-f", format, "./...") {
		if within(row[0], module+"/systemd") {
			continue
		}
		for _, imp := range row[1:] {
			if strings.HasPrefix(imp, goSystemd) {
				t.Errorf("%s imports %s; only package systemd may", row[0], imp)
			}
		}
	}
}

// TestNoTestsInPrograms: what helps tests is imported by tests alone.
func TestNoTestsInPrograms(t *testing.T) {
	helps := func(pkg string) bool { return strings.HasSuffix(pkg, "test") && within(pkg, module) }
	seen := 0
	for _, row := range goList(t, "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...") {
		if helps(row[0]) {
			seen++
			continue
		}
		for _, imp := range row[1:] {
			if imp == "testing" || helps(imp) {
				t.Errorf("%s imports %s outside of its tests", row[0], imp)
			}
		}
	}
	if seen < 3 {
		t.Errorf("only %d packages that help tests were found", seen)
	}
}

// TestPackagesAreDocumented: a package without a comment has no stated purpose.
func TestPackagesAreDocumented(t *testing.T) {
	for _, row := range goList(t, "-f", `{{if .GoFiles}}{{.ImportPath}} {{.Name}} {{if .Doc}}doc{{end}}{{end}}`, "./...") {
		if len(row) < 3 {
			t.Errorf("package %s has no package comment", row[0])
		}
		switch row[1] {
		case "util", "utils", "common", "helpers", "misc", "types":
			t.Errorf("package %s: the name says nothing about its content", row[0])
		}
	}
}

// TestLayoutTable: README is short. It says once what each folder is, and of none
// that is not there. Every package is in one of them, and a row of its own says what
// one of daemon/internal is.
func TestLayoutTable(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(readme), "\n"); n > maxReadme {
		t.Errorf("README has %d lines, and nobody reads more than %d", n, maxReadme)
	}
	_, table, _ := strings.Cut(string(readme), "\n## Where things are\n")
	table, _, _ = strings.Cut(table, "\n## ")
	var rows []string
	var paths []string // a row may be about two
	for _, m := range regexp.MustCompile("(?m)^\\| (`[^|]+) \\|").FindAllStringSubmatch(table, -1) {
		for path := range strings.SplitSeq(m[1], ", ") {
			paths = append(paths, strings.Trim(path, "/`"))
		}
	}
	for _, path := range paths {
		if _, err := os.Stat(filepath.Join("..", path)); err != nil {
			t.Errorf("README: %v", err)
		}
		if slices.Contains(rows, path) {
			t.Errorf("README has two rows for %s", path)
		}
		rows = append(rows, path)
	}
	for _, row := range goList(t, "-f", "{{.ImportPath}}", "./...") {
		path := strings.TrimPrefix(row[0], module+"/")
		known := slices.ContainsFunc(rows, func(r string) bool { return within(path, r) })
		if filepath.Dir(path) == "daemon/internal" {
			known = slices.Contains(rows, path)
		}
		if !known {
			t.Errorf("README does not say what %s is", path)
		}
	}
}

// Limits of size. A file of more lines holds two subjects; an interface of more
// methods is a type in disguise.
const (
	maxFileLines = 420
	maxReadme    = 150
	maxFuncLines = 60
	maxMethods   = 5
	maxBackEnd   = 8 // of an interface of evloop/io_backend.go: what two kernel mechanisms have in common
)

// TestSourceFiles walks every Go file of the repository, the bench module and
// the tests included.
func TestSourceFiles(t *testing.T) {
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "bin" || d.Name() == "out") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		checkFile(t, path, string(text))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func checkFile(t *testing.T, path, text string) {
	t.Helper()
	if !strings.HasPrefix(text, "// SPDX-License-Identifier: Apache-2.0\n\n") {
		t.Errorf("%s: the licence line and a blank line must come first", path)
	}
	if n := strings.Count(text, "\n"); n > maxFileLines {
		t.Errorf("%s: %d lines, the limit is %d", path, n, maxFileLines)
	}
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, text, parser.SkipObjectResolution)
	if err != nil {
		t.Error(err)
		return
	}
	checkAddresses(t, files, file)
	lines := func(n ast.Node) int { return files.Position(n.End()).Line - files.Position(n.Pos()).Line + 1 }
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			// A table test may be as long as its table.
			if got := lines(n); got > maxFuncLines && !strings.HasSuffix(path, "_test.go") {
				t.Errorf("%s: func %s has %d lines, the limit is %d", path, n.Name.Name, got, maxFuncLines)
			}
		case *ast.InterfaceType:
			most := maxMethods
			if strings.HasSuffix(path, "evloop/io_backend.go") {
				most = maxBackEnd
			}
			if got := n.Methods.NumFields(); got > most {
				t.Errorf("%s: an interface has %d methods, the limit is %d", files.Position(n.Pos()), got, most)
			}
		}
		return true
	})
}

// checkAddresses finds addresses that are kept in a variable. A uintptr keeps
// nothing alive and is not changed when a stack moves; the one exception that
// package unsafe makes is a conversion in the argument list of the system call
// itself, and go vet does not look for others.
func checkAddresses(t *testing.T, files *token.FileSet, file *ast.File) {
	t.Helper()
	ast.Inspect(file, func(n ast.Node) bool {
		var values []ast.Expr
		switch n := n.(type) {
		case *ast.AssignStmt:
			values = n.Rhs
		case *ast.ValueSpec:
			values = n.Values
		}
		for _, v := range values {
			if text := types.ExprString(v); strings.HasPrefix(text, "uintptr(unsafe.Pointer(") {
				t.Errorf("%s: %s is kept in a variable", files.Position(v.Pos()), text)
			}
		}
		return true
	})
}

// TestContributing: each test that CONTRIBUTING.md names as the keeper of a
// step is there.
func TestContributing(t *testing.T) {
	guide, err := os.ReadFile("../CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	var tests strings.Builder
	err = filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		tests.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w+)`").FindAllStringSubmatch(string(guide), -1)
	if len(named) < 8 {
		t.Fatalf("only %d tests found in CONTRIBUTING.md, the pattern of this test is out of date", len(named))
	}
	for _, m := range named {
		if !strings.Contains(tests.String(), "\nfunc "+m[1]+"(") {
			t.Errorf("CONTRIBUTING.md names %s, and there is no such test", m[1])
		}
	}
}
