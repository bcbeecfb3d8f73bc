// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/daemon/internal/kept"
)

// loadKeeping is Load, and what Read was told.
func loadKeeping(t *testing.T, path string) (cfg *Config, files []kept.File) {
	t.Helper()
	cfg, err := Loader{Read: func(name, text string, _ bool) { files = append(files, kept.File{Name: name, Text: text}) }}.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return cfg, files
}

// TestRestore: what was kept gives the same configuration whatever has become of
// the files; a table in the folder of drop-ins is not taken for one, and a file
// that was not there then is not read.
func TestRestore(t *testing.T) {
	dir := t.TempDir()
	main := filepath.Join(dir, "main.toml")
	lookup := "kind='lookup'\ndelimiter='?'\ndefault='no'\n"
	write(t, dir, map[string]string{
		"main.toml":          "[service.a]\nlisten=['/run/a']\nfile='table'\n" + lookup,
		"conf.d/10.toml":     "[service.b]\nlisten=['/run/b']\nfile='.table.toml'\n" + lookup + "[service.a]\nmax_line=77\n",
		"conf.d/20.toml":     "[service.c]\nlisten=['/run/c']\nfile='../conf.d/table'\n" + lookup + "[service.a]\nmax_line=78\n",
		"conf.d/.table.toml": "'b?' = '1'\n",
		"conf.d/table":       "'c?' = '2'\n",
		"table":              "'a?' = '3'\n",
	})
	want, files := loadKeeping(t, main)
	if len(files) != 6 || files[0].Name != main {
		t.Fatalf("Read was told of %d files, first %q", len(files), files[0].Name)
	}
	spoil := func() {
		if err := os.RemoveAll(filepath.Join(dir, "conf.d")); err != nil {
			t.Fatal(err)
		}
		write(t, dir, map[string]string{"main.toml": "", "table": "[", "conf.d/15.toml": "["})
	}
	spoil()
	got, err := Loader{}.Restore(files)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fmt.Sprintf("%+v", want.Files), fmt.Sprintf("%+v", got.Files)); diff != "" {
		t.Errorf("files -want +got:\n%s", diff)
	}
	for i, s := range want.Services {
		if !s.SameAs(got.Services[i]) || s.MaxLine != got.Services[i].MaxLine {
			t.Errorf("%s is another service", s.Name)
		}
	}

	// A table that was too large to be kept is read where it is.
	write(t, dir, map[string]string{"table": "'a?' = '3'\n"})
	without := append([]kept.File{}, files[:3]...)
	for _, f := range files[3:] {
		if f.Name != filepath.Join(dir, "table") {
			without = append(without, f)
		}
	}
	if got, err = (Loader{}).Restore(without); err != nil || !got.Services[0].SameAs(want.Services[0]) {
		t.Errorf("without the table: %v", err)
	}
	write(t, dir, map[string]string{"table": "["})
	if _, err = (Loader{}).Restore(without); err == nil || !strings.Contains(err.Error(), "table") {
		t.Errorf("with a table of which nothing is left: %v, want a mistake", err)
	}
}

// What was kept may have been written by somebody else.
func TestRestoreRefuses(t *testing.T) {
	for _, files := range [][]kept.File{
		nil,
		{{}},
		{{Name: "main.toml", Text: "["}},
		{{Name: "main.toml", Text: "[log]\n"}, {Name: "conf.d/10.toml", Text: ""}},
		{{Name: "main.toml", Text: strings.Repeat("[", 1<<19)}},
	} {
		if cfg, err := (Loader{}).Restore(files); err == nil {
			t.Errorf("Restore() = %v, want an error", cfg)
		}
	}
	if _, err := (Loader{}).Restore(nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Restore() = %v, want that there is nothing", err)
	}
}
