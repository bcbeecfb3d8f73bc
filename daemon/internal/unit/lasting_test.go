// SPDX-License-Identifier: Apache-2.0

package unit

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"penstock/daemon/internal/kept"
)

// applyUnits has root be a machine on which the units of text were applied.
func applyUnits(t *testing.T, root, text string) []File {
	t.Helper()
	cfg, mistakes := load(t, text)
	files, err := Generate("/etc/penstock/penstock.toml", cfg, mistakes, nil)
	if err := errors.Join(err, Replace(filepath.Join(root, AppliedFolder), files)); err != nil {
		t.Fatal(err)
	}
	return files
}

// reboot takes away what is in memory.
func reboot(t *testing.T, root string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(root, "run")); err != nil {
		t.Fatal(err)
	}
}

func names(files []File) (names []string) {
	for _, f := range files {
		names = append(names, f.Name)
	}
	return names
}

func TestUnitsLast(t *testing.T) {
	root := t.TempDir()
	if files, err := Applied(root); files != nil || err != nil {
		t.Errorf("Applied() = %q, %v, want nothing", names(files), err)
	}
	want := applyUnits(t, root, "[service.a]\n"+echo)
	for i := range 3 {
		keeper, err := KeepLasting(root)
		if due := len(keeper) > 0; err != nil || due != (i == 0) {
			t.Errorf("time %d: KeepLasting() = %q, %v", i, names(keeper), err)
		}
		if err := MakeLast(root); err != nil {
			t.Fatal(err)
		}
	}
	reboot(t, root)
	got, err := Applied(root)
	slices.SortFunc(got, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("Applied() = %q, %v, want %q as they were", names(got), err, names(want))
	}

	// What was applied in this boot comes first, and then lasts.
	applyUnits(t, root, "[service.b]\n"+echo)
	if got, err := Applied(root); err != nil || got[0].Name != "penstock-b.socket" {
		t.Errorf("Applied() = %q, %v", names(got), err)
	}
	if keeper, err := KeepLasting(root); len(keeper) != 2 || err != nil {
		t.Errorf("KeepLasting() = %q, %v, want the unit and its drop-in", names(keeper), err)
	}
}

// An emptied file leaves nothing but the report. That is nothing to keep, and the
// report is no part of what is kept.
func TestMistakesDoNotLast(t *testing.T) {
	root := t.TempDir()
	applyUnits(t, root, "[service.a]\n"+echo+"[service.b]\nkind = \"ehco\"\n")
	if err := MakeLast(root); err != nil {
		t.Fatal(err)
	}
	reboot(t, root)
	applyUnits(t, root, "")
	if keeper, err := KeepLasting(root); keeper != nil || err != nil {
		t.Errorf("KeepLasting() = %q, %v, want nothing to do", names(keeper), err)
	}
	if err := MakeLast(root); err != nil {
		t.Fatal(err)
	}
	reboot(t, root)
	got, err := Applied(root)
	if want := []string{"penstock-a.socket", ServiceDropIn, TargetDropIn}; err != nil || !slices.Equal(names(got), want) {
		t.Errorf("Applied() = %q, %v, want %q", names(got), err, want)
	}
}

// A name decides which file is written: one that is not ours is left out.
func TestKeptNames(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, LastingFile)
	files := []kept.File{
		{Name: "penstock-a.socket", Text: "a"},
		{Name: "../../etc/systemd/system/penstock-b.socket", Text: "b"},
		{Name: "penstock-../x.socket", Text: "c"},
		{Name: "ssh.service", Text: "d"},
		{Name: "penstock.service", Text: "e"},
		{Name: "penstock.service.d/60-mine.conf", Text: "f"},
		{Name: ServiceDropIn, Text: "g"},
		{Name: "", Text: "h"},
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), kept.Write(path, files, 0o644)); err != nil {
		t.Fatal(err)
	}
	got, err := Applied(root)
	if want := []string{"penstock-a.socket", ServiceDropIn}; err != nil || !slices.Equal(names(got), want) {
		t.Errorf("Applied() = %q, %v, want %q", names(got), err, want)
	}
}

// A copy that a power cut has damaged, too, is said, and written anew.
func TestDamagedUnits(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, LastingFile)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	if got, err := Applied(root); got != nil || err == nil || !strings.Contains(err.Error(), path+": is damaged") {
		t.Errorf("Applied() = %q, %v, want an error that names the file", names(got), err)
	}
	want := applyUnits(t, root, "[service.a]\n"+echo)
	if err := MakeLast(root); err != nil {
		t.Fatal(err)
	}
	reboot(t, root)
	if got, err := Applied(root); err != nil || len(got) != len(want) {
		t.Errorf("Applied() = %q, %v, want %q", names(got), err, names(want))
	}
}
