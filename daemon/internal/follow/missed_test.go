// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestFollowMissed: a file that has the name between two looks only cannot be read, but
// is counted; no other rotation is, and nothing that is no file.
func TestFollowMissed(t *testing.T) {
	const rename, remove, replace, folder = "rename", "remove", "replace", "folder"
	tests := []struct {
		name string
		ops  []string // an empty one is a look
		want int
	}{
		{"a rename at a time", []string{rename, "", rename, ""}, 0},
		{"a replacement at a time", []string{replace, "", replace, ""}, 0},
		{"deleted and made anew", []string{remove, "", remove, ""}, 0},
		{"two renames", []string{rename, rename, ""}, 1},
		{"two replacements", []string{replace, replace, "", replace, ""}, 1},
		{"three files", []string{remove, replace, rename, "", rename, ""}, 2},
		{"a folder", []string{folder, ""}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path, w := followOne(t)
			for i, op := range tt.ops {
				old := fmt.Sprint(path, ".", i)
				switch op {
				case rename:
					must(t, os.Rename(path, old))
					appendTo(t, path, "x\n")
				case remove:
					must(t, os.Remove(path))
					appendTo(t, path, "x\n")
				case replace:
					appendTo(t, path+".tmp", "x\n")
					must(t, os.Rename(path+".tmp", path))
				case folder:
					must(t, os.Rename(path, old))
					must(t, os.Mkdir(path, 0o700))
					must(t, os.Remove(path))
					appendTo(t, path, "x\n")
				default:
					w.caughtUp()
				}
			}
			if w.caughtUp(); w.missed != tt.want {
				t.Errorf("%d files missed, want %d", w.missed, tt.want)
			}
		})
	}
}

// TestFollowMissedLinks: the same behind a link, and of the link itself. A link that is there
// before its file is no file that was missed.
func TestFollowMissedLinks(t *testing.T) {
	const swap, rename, dangle, fill = "swap", "rename", "dangle", "fill"
	tests := []struct {
		name string
		ops  []string // an empty one is a look
		want int
	}{
		{"a swap at a time", []string{swap, "", swap, ""}, 0},
		{"two swaps", []string{swap, swap, ""}, 1},
		{"a rename of the file at a time", []string{rename, "", rename, ""}, 0},
		{"two renames of the file", []string{rename, rename, ""}, 1},
		{"a swap, then two renames", []string{swap, "", rename, rename, rename, ""}, 2},
		{"a link before its file", []string{dangle, "", fill, ""}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path, target := filepath.Join(t.TempDir(), "log"), filepath.Join(t.TempDir(), "0")
			link := func(to string) {
				target = to
				must(t, os.Symlink(to, path+".new"))
				must(t, os.Rename(path+".new", path))
			}
			link(target)
			appendTo(t, target, "x\n")
			w := newFollower(t, path, 5, 1000)
			w.caughtUp()
			for i, op := range tt.ops {
				next := filepath.Join(filepath.Dir(target), fmt.Sprint(i+1))
				switch op {
				case swap:
					appendTo(t, next, "x\n")
					link(next)
				case rename:
					must(t, os.Rename(target, next+".old"))
					appendTo(t, target, "x\n")
				case dangle:
					link(next)
				case fill:
					appendTo(t, target, "x\n")
				default:
					w.caughtUp()
				}
			}
			if w.caughtUp(); w.missed != tt.want {
				t.Errorf("%d files missed, want %d", w.missed, tt.want)
			}
		})
	}
}

// TestFollowMissedFirst: what has the name of the file before it is followed is not missed,
// such as its folder, or what a former process has followed.
func TestFollowMissedFirst(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	path := filepath.Join(dir, "log")
	w := newFollower(t, path, 5, 1000)
	w.want("")
	must(t, os.Mkdir(dir, 0o700))
	w.want("")
	appendTo(t, path, "one\n")
	w.look() // opens it
	must(t, os.Rename(path, path+".1"))
	appendTo(t, path, "two\n")
	w.want("one\ntwo\n")

	after := newFollower(t, path, 5, 1000)
	after.Resume(w.at)
	must(t, os.Rename(path, path+".2"))
	appendTo(t, path, "three\n")
	after.want("three\n")
	must(t, os.Rename(path, path+".3"))
	appendTo(t, path, "four\n")
	after.want("four\n")
	if w.missed+after.missed != 0 {
		t.Errorf("%d and %d files missed, want none", w.missed, after.missed)
	}

	last := newFollower(t, path, 5, 1000)
	last.Resume(after.at)
	must(t, os.Remove(path))
	appendTo(t, path, "five\n")
	last.want("five\n")
	if last.missed != 1 {
		t.Errorf("%d files missed, want the one that a former process was in", last.missed)
	}
}
