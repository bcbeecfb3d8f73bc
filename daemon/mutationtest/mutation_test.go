// SPDX-License-Identifier: Apache-2.0

package mutationtest

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var mutate = flag.Bool("mutate", false, "run the mutations; without it they are skipped")

// root is where the packages are.
const root = "../.."

// patience is for the tests of one mutation, among which may be one that waits
// in vain. To hang is to fail.
const patience = "3m"

// TestMutations: the tests that a mutation names pass without it and fail with
// it. To run one of them: -run 'TestMutations/F2'.
func TestMutations(t *testing.T) {
	if !*mutate {
		t.Skip("no -mutate; use make mutate")
	}
	product := readProduct(t)
	healthy := build{dir: t.TempDir()}
	passed := map[string]string{} // why the judge cannot tell, or ""
	for _, m := range readTables(t) {
		t.Run(m.title, func(t *testing.T) {
			changed, err := m.mutate(product)
			if err != nil {
				t.Fatalf("%s: %v", m.where, err)
			}
			sick := build{dir: t.TempDir()}
			if err := sick.replace(changed); err != nil {
				t.Fatal(err)
			}
			for _, j := range m.by {
				if _, known := passed[j.String()]; !known {
					passed[j.String()] = healthy.trust(j)
				}
				if problem := passed[j.String()]; problem != "" {
					t.Fatalf("%s: %s cannot judge: %s", m.where, j, problem)
				}
				switch out, err := sick.run(j); {
				case errors.Is(err, errBuild):
					t.Errorf("%s: does not compile: %s", m.where, out)
				case err == nil:
					t.Errorf("%s: survives %s", m.where, j)
				default:
					t.Log(j, firstFailure(out))
				}
			}
		})
	}
}

func (j judge) String() string { return j.pkg + " " + strings.Join(j.args, " ") }

// readProduct returns the text of each Go file that is no test, by path.
func readProduct(t *testing.T) map[string]string {
	t.Helper()
	product := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{".git", "bench"}, d.Name()):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		product[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return product
}

// mutate returns the text of each file that the mutation changes.
func (m *mutation) mutate(product map[string]string) (changed map[string]string, err error) {
	changed = map[string]string{}
	for _, p := range m.places {
		result, where, found := "", "", 0
		for name, text := range product {
			if earlier, ok := changed[name]; ok {
				text = earlier
			}
			if got, n := p.replace(text); n > 0 {
				result, where = got, name
				found += n
			}
		}
		if found != 1 {
			return nil, fmt.Errorf("found in %d places, want one:\n%s", found, p.old)
		}
		changed[where] = result
	}
	return changed, nil
}

// replace changes the last of the n places in text that are as p says.
func (p place) replace(text string) (changed string, n int) {
	first, _, _ := strings.Cut(p.old, "\n")
	if !strings.Contains(text, first) {
		return "", 0
	}
	old, lines := strings.SplitAfter(p.old, "\n"), strings.SplitAfter(text, "\n")
	old = old[:len(old)-1]
	for i := range len(lines) - len(old) {
		same := func(line, want string) bool { return bare(strings.TrimSuffix(line, "\n"))+"\n" == want }
		if end := i + len(old); slices.EqualFunc(lines[i:end], old, same) {
			changed = strings.Join(lines[:i], "") + p.new + strings.Join(lines[end:], "")
			n++
		}
	}
	return changed, n
}

// A build is the module with some files replaced.
type build struct {
	dir     string // for what is built
	overlay string // the file that says what is replaced; "": nothing is
}

// replace has the build take texts in the place of files.
func (b *build) replace(texts map[string]string) error {
	replace := map[string]string{}
	for i, name := range slices.Sorted(maps.Keys(texts)) {
		abs, err := filepath.Abs(name)
		if err != nil {
			return err
		}
		replace[abs] = filepath.Join(b.dir, fmt.Sprintf("%d.go", i))
		if err := os.WriteFile(replace[abs], []byte(texts[name]), 0o644); err != nil {
			return err
		}
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	b.overlay = filepath.Join(b.dir, "overlay.json")
	return os.WriteFile(b.overlay, list, 0o644)
}

// errBuild says that the compiler refused.
var errBuild = errors.New("does not compile")

// make builds what a go command makes of a package, once, and returns its path.
func (b *build) make(name, pkg string, command ...string) (path, said string, err error) {
	path = filepath.Join(b.dir, strings.ReplaceAll(name, "/", "-"))
	if _, err := os.Stat(path); err == nil {
		return path, "", nil
	}
	args := append(command, "-o", path)
	if b.overlay != "" {
		args = append(args, "-overlay", b.overlay)
	}
	cmd := exec.Command("go", append(args, "./"+pkg)...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", string(out), fmt.Errorf("%w: %w", errBuild, err)
	}
	return path, "", nil
}

// run runs the tests of a judge and returns what they say; the error is that
// they fail.
func (b *build) run(j judge) (said string, err error) {
	tests, said, err := b.make(j.pkg+".test", j.pkg, "test", "-c", "-vet=off")
	if err != nil {
		return said, err
	}
	args := []string{"-test.run=" + j.args[0], "-test.v", "-test.failfast", "-test.timeout=" + patience}
	for _, arg := range j.args[1:] {
		if strings.Contains(arg, "{penstock}") {
			command, said, err := b.make("penstock", "daemon/cmd/penstock", "build")
			if err != nil {
				return said, err
			}
			arg = strings.ReplaceAll(arg, "{penstock}", command)
		}
		args = append(args, arg)
	}
	cmd := exec.Command(tests, args...)
	cmd.Dir = filepath.Join(root, j.pkg)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// trust returns why the tests of j say nothing about a mutation, or "": they
// have to run, and to pass, without one.
func (b *build) trust(j judge) string {
	switch out, err := b.run(j); {
	case err != nil:
		return "it fails without a mutation: " + firstFailure(out)
	case strings.Contains(out, "--- SKIP"):
		return "it is skipped on this machine: " + out
	case !j.passed(out):
		return "there is no such test"
	}
	return ""
}

// passed reports whether a test, or a case of it as deep as the pattern goes, is
// said to have passed. A test with no such case passes as well.
func (j judge) passed(out string) bool {
	for line := range strings.Lines(out) {
		if _, name, ok := strings.Cut(line, "--- PASS: "); ok && strings.Count(name, "/") >= strings.Count(j.args[0], "/") {
			return true
		}
	}
	return false
}

// firstFailure returns the lines of a test's output that say how it failed.
func firstFailure(out string) string {
	var said []string
	for line := range strings.Lines(out) {
		if failure.MatchString(line) {
			said = append(said, strings.TrimSpace(line))
		}
	}
	if len(said) == 0 {
		return out
	}
	return strings.Join(said[:min(len(said), 3)], "\n")
}

var failure = regexp.MustCompile(`^panic: |^\s*--- FAIL|^\s*\w+_test\.go:\d+: |^\s*(> |FAIL: )`)
