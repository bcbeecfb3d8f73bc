// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// TestUpgrade: a file that 0.1.0 accepted is accepted, with the warnings that
// stand beside it. A check that is to be stricter than that version warns.
func TestUpgrade(t *testing.T) {
	archive, err := txtar.ParseFile("testdata/accepted.txtar")
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]map[string]string{}
	for _, f := range archive.Files {
		name, file, _ := strings.Cut(f.Name, "/")
		if cases[name] == nil {
			cases[name] = map[string]string{}
		}
		cases[name][file] = string(f.Data)
	}
	if len(cases) < 30 {
		t.Errorf("%d files, want some dozen", len(cases))
	}
	for name, files := range cases {
		t.Run(name, func(t *testing.T) {
			want := files["warnings"]
			delete(files, "warnings")
			if strings.Contains(files["p.toml"], "/var/run/") && !varRunIsRun() {
				t.Skip("/var/run is no link to /run")
			}
			source := layOut(t, files)
			for _, sockets := range []bool{false, true} {
				c, err := Loader{Sockets: sockets}.Load(source)
				if err != nil || len(c.Services) == 0 {
					t.Fatalf("Load = %v, want services", err)
				}
				dir := filepath.Dir(source) + "/"
				got := strings.NewReplacer(dir+"real", "$DIR/real", dir+"link", "$DIR/link", dir, "").Replace(c.Warnings.String())
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("warnings, -want +got:\n%s", diff)
				}
			}
		})
	}
}

// layOut writes the files of a case and returns the path of the main one.
func layOut(t *testing.T, files map[string]string) (source string) {
	t.Helper()
	dir := t.TempDir()
	source = filepath.Join(dir, "p.toml")
	bytes := strings.NewReplacer("$DIR", dir, "$CR", "\r", "$BOM", "\uFEFF")
	for name, text := range files {
		files[name] = bytes.Replace(text)
	}
	write(t, dir, files)
	if _, ok := files["p.toml"]; !ok {
		if err := os.Symlink(os.DevNull, source); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "real"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	return source
}

// TestManyWarnings: they are bounded as mistakes are.
func TestManyWarnings(t *testing.T) {
	text := ""
	for i := range 300 {
		text += fmt.Sprintf("[service.s%d]\nkind='echo'\nlisten=['@%d']\nbind_device='lo'\n", i, i)
	}
	c, err := Parse("x.toml", []byte(text))
	if n := len(c.Warnings); err != nil || n != maxMistakes+1 || c.Warnings[n-1].String() != "warning: and 200 more" {
		t.Errorf("Parse = %v with %d warnings, want %d and the count of the rest", err, n, maxMistakes)
	}
	if len(c.Services) != 300 {
		t.Errorf("%d services, want all", len(c.Services))
	}
}

// TestLargeFile: a file of the size that 0.1.0 took is read, and said to be large.
func TestLargeFile(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"p.toml": head + "#" + strings.Repeat(" ", 15*mib)})
	c, err := Load(filepath.Join(dir, "p.toml"))
	if err != nil || !strings.Contains(c.Warnings.String(), "p.toml: warning: is larger than 1MiB") {
		t.Errorf("Load = %v, %v, want a warning", err, c.Warnings)
	}
}
