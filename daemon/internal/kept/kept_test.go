// SPDX-License-Identifier: Apache-2.0

package kept

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var some = []File{
	{"/etc/a.toml", "[service.a]\nkind = \"echo\"\n"},
	{"/etc/empty", ""},
	{"a name\nof two lines", "crc32 00000000\n5 \"x\"\nno end of line"},
	{"/etc/large", strings.Repeat("0123456789\n", 10000)},
}

const limit = 1 << 20

func mustWrite(t *testing.T, path string, files []File) {
	t.Helper()
	if err := Write(path, files, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestReadReturnsWhatWasWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kept")
	for _, files := range [][]File{some, nil, some[:1], some[2:]} {
		mustWrite(t, path, files)
		got, at, err := Read(path, limit)
		if err != nil || !slices.Equal(got, files) {
			t.Errorf("Read() = %.200q, %v, want %.200q", got, err, files)
		}
		if age := time.Since(at); age > time.Hour || age < -time.Hour {
			t.Errorf("written at %v", at)
		}
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v, want a file for its owner alone", fi.Mode(), err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

// A card wears out: what is there already is not written again, and what
// differs by a byte is.
func TestWriteOnlyChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kept")
	inode := func() uint64 {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		return st.Ino
	}
	mustWrite(t, path, some)
	other, err := os.Create(path + ".other") // takes the number that is free
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	first := inode()
	mustWrite(t, path, some)
	if inode() != first {
		t.Error("written again although it is the same")
	}
	for i := range some {
		for _, change := range []func(*File){
			func(f *File) { f.Name += "x" },
			func(f *File) { f.Text += "x" },
			func(f *File) { f.Text = "" },
		} {
			files := slices.Clone(some)
			change(&files[i])
			mustWrite(t, path, files)
			if got, _, err := Read(path, limit); err != nil || !slices.Equal(got, files) {
				t.Errorf("a change of file %d was not written: %v", i, err)
			}
		}
	}
	mustWrite(t, path, some[:1])
	mustWrite(t, path, some)
	mustWrite(t, path, some[:2])
	if got, _, err := Read(path, limit); err != nil || !slices.Equal(got, some[:2]) {
		t.Errorf("Read() = %.200q, %v", got, err)
	}
}

// A file in the way of the temporary one, as a power cut leaves it, is no
// obstacle, and a link in its place is not followed.
func TestWriteOverLeftovers(t *testing.T) {
	dir := t.TempDir()
	path, victim := filepath.Join(dir, "kept"), filepath.Join(dir, "victim")
	for _, leave := range []func() error{
		func() error { return os.WriteFile(path+".new", []byte("half"), 0o400) },
		func() error { return os.Symlink(victim, path+".new") },
		func() error { return errors.Join(os.Remove(path), os.Symlink(victim, path)) },
	} {
		if err := leave(); err != nil {
			t.Fatal(err)
		}
		mustWrite(t, path, some)
		if got, _, err := Read(path, limit); err != nil || !slices.Equal(got, some) {
			t.Errorf("Read() = %.200q, %v", got, err)
		}
		if _, err := os.Stat(victim); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a link was followed: %v", err)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "kept")
	mustWrite(t, path, some)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	whole := string(b)
	tests := []struct {
		name  string
		spoil func() error
		want  string
	}{
		{"emptied", func() error { return os.WriteFile(path, nil, 0o600) }, "is damaged"},
		{"zeros", func() error { return os.WriteFile(path, make([]byte, len(b)), 0o600) }, "is damaged"},
		{"cut off", func() error { return os.WriteFile(path, b[:len(b)-1], 0o600) }, "is damaged"},
		{"half", func() error { return os.WriteFile(path, b[:len(b)/2], 0o600) }, "is damaged"},
		{"longer", func() error { return os.WriteFile(path, append(slices.Clone(b), '\n'), 0o600) }, "is damaged"},
		{"a byte changed", func() error {
			return os.WriteFile(path, []byte(strings.Replace(whole, "echo", "ecko", 1)), 0o600)
		}, "is damaged"},
		{"too large", func() error { return os.WriteFile(path, make([]byte, limit+1), 0o600) }, "is larger than"},
		{"a FIFO", func() error { return errors.Join(os.Remove(path), unix.Mkfifo(path, 0o600)) }, "is not a regular file"},
		{"a link", func() error { return errors.Join(os.Remove(path), os.Symlink("/dev/zero", path)) }, "too many levels"},
		{"a folder", func() error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) }, "is not a regular file"},
	}
	for _, tt := range tests {
		if err := tt.spoil(); err != nil {
			t.Fatal(err)
		}
		files, _, err := Read(path, limit)
		if files != nil || err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: Read() = %d files, %v, want an error with %q", tt.name, len(files), err, tt.want)
		}
	}
	if _, _, err := Read(filepath.Join(dir, "none"), limit); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Read() = %v, want that there is none", err)
	}
}

// Texts with a sum that is right and a form that is not, as of another version.
func FuzzDecode(f *testing.F) {
	for _, body := range []string{
		"", header, "penstock snapshot 2\n", header + "5 \"a\"\nabc", header + "-1 \"a\"\nabc", header + "1 a\nx",
		header + "99999999999999999999 \"a\"\n", header + "3", header + "3 \"a\"\nabc",
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		files, err := decode(body + sumOf(body))
		if err != nil && files != nil {
			t.Errorf("decode(%q) = %q and %v", body, files, err)
		}
		n := 0
		for _, file := range files {
			n += len(file.Text)
		}
		if n > len(body) {
			t.Errorf("decode(%q) = %q, more than there is", body, files)
		}
	})
}
