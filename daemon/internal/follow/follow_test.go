// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A follower reads what a File finds, as a service would, but by itself: no goroutine,
// no loop.
type follower struct {
	*File
	t      *testing.T
	inLook bool
	got    []byte
	half   bool // the last line has yet to end
	missed int
	events []Event
	at     Place // where a next process would go on
	err    error
}

func newFollower(t *testing.T, path string, lines, bound int) *follower {
	t.Helper()
	f, err := New(path, lines, bound)
	if err != nil {
		t.Fatal(err)
	}
	w := &follower{File: f, t: t}
	t.Cleanup(func() { w.Close() })
	return w
}

// followOne follows a file that holds a line, which was read.
func followOne(t *testing.T) (path string, w *follower) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "log")
	appendTo(t, path, "one\n")
	w = newFollower(t, path, 5, 1000)
	w.want("one\n")
	return path, w
}

// look takes one look.
func (w *follower) look() Found {
	w.inLook = true
	found := w.Look()
	w.inLook = false
	if found.Event != None {
		w.events = append(w.events, found.Event)
		if w.half {
			w.got, w.half = append(w.got, '\n'), false
		}
	}
	if found.Event != None || found.Err != nil {
		w.err = found.Err
	}
	w.missed += found.Missed
	w.got = append(w.got, found.Data...)
	if n := len(found.Data); n > 0 {
		w.half = found.Data[n-1] != '\n'
	}
	if found.Start.Ino != 0 {
		w.at = found.Start.After(found.Data)
	}
	return found
}

// caughtUp looks for as long as a look, or an event, says that there is more.
func (w *follower) caughtUp() {
	w.t.Helper()
	for range 10000 {
		if more := w.look().More; !more && !readable(w.t, w.Queue()) {
			return
		}
	}
	w.t.Fatal("it never catches up")
}

// readable reports whether a loop would be woken.
func readable(t *testing.T, fd int) bool {
	t.Helper()
	n := 0
	must(t, retry(func() (err error) {
		n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return err
	}))
	return n == 1
}

func (w *follower) want(s string) {
	w.t.Helper()
	w.caughtUp()
	if string(w.got) != s {
		w.t.Fatalf("got %q, want %q", w.got, s)
	}
	w.got = nil
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	fd, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer fd.Close()
	if _, err := fd.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFollowBegin(t *testing.T) {
	long := strings.Repeat("x", 3*chunk)
	tests := []struct {
		name, text   string
		lines, bound int
		want         string
	}{
		{"empty", "", 3, 1000, ""},
		{"none", "a\nb\n", 0, 1000, ""},
		{"none, and the beginning of a line", "a\nb\nhalf", 0, 1000, "half"},
		{"some", "a\nb\nc\nd\n", 2, 1000, "c\nd\n"},
		{"some, and the beginning of a line", "a\nb\nc\nd", 2, 1000, "b\nc\nd"},
		{"all", "a\nb\n", 2, 1000, "a\nb\n"},
		{"more than there are", "a\nb\n", 9, 1000, "a\nb\n"},
		{"the bound cuts a line", "abcdef\nb\nc\n", 9, 6, "b\nc\n"},
		{"the bound is at the end of a line", "abcdef\nb\nc\n", 9, 4, "c\n"},
		{"in a line longer than the bound", "a\n" + long, 5, 1000, ""},
		{"lines longer than a block", "a\n" + long + "\nb\n", 2, 1 << 20, long + "\nb\n"},
		{"empty lines", "\n\n\n\n", 2, 1000, "\n\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log")
			appendTo(t, path, tt.text)
			w := newFollower(t, path, tt.lines, tt.bound)
			w.want(tt.want)
			appendTo(t, path, "later\n")
			w.want("later\n")
		})
	}
}

// TestFollowRotation: each way in which a file is rotated, step by step.
func TestFollowRotation(t *testing.T) {
	dir := t.TempDir()
	path, old := filepath.Join(dir, "log"), filepath.Join(dir, "log.1")
	appendTo(t, path, "history\n")
	w := newFollower(t, path, 0, 1000)
	w.want("")

	must(t, os.Rename(path, old)) // the program has yet to turn to the new file
	appendTo(t, old, "late\n")
	w.want("late\n")
	appendTo(t, path, "")
	appendTo(t, old, "later\nhalf")
	w.want("later\nhalf")
	appendTo(t, path, "new\n")
	w.want("\nnew\n") // the half was a line, for nothing follows in its file

	must(t, os.Truncate(path, 0)) // copytruncate, and it has grown past the old end
	appendTo(t, path, "more than there was\n")
	w.want("more than there was\n")

	appendTo(t, path+".tmp", "by rename\n")
	must(t, os.Rename(path+".tmp", path))
	w.want("by rename\n")

	must(t, os.Remove(path))
	w.want("")
	if !errors.Is(w.err, os.ErrNotExist) || len(w.files) != 0 {
		t.Errorf("a deleted file: %v, %d open; want it let go", w.err, len(w.files))
	}
	appendTo(t, path, "again\n")
	w.want("again\n")
	if got, want := fmt.Sprint(w.events), fmt.Sprint([]Event{Opened, Replaced, Truncated, Replaced, Gone, Opened}); got != want {
		t.Errorf("events %v, want %v", got, want)
	}
}

// TestFollowChain: files that have had the name for a moment only, while the program
// still wrote to the one before, are read in their order.
func TestFollowChain(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	appendTo(t, path, "0\n")
	w := newFollower(t, path, 10, 1000)
	w.want("0\n")
	for i := range 3 {
		must(t, os.Rename(path, fmt.Sprint(path, ".", i)))
		appendTo(t, path, "")
		w.want("")
	}
	for i := range 3 {
		appendTo(t, fmt.Sprint(path, ".", i), fmt.Sprint("last of ", i, "\n"))
	}
	appendTo(t, path, "the newest\n")
	w.want("last of 0\nlast of 1\nlast of 2\nthe newest\n")
	if len(w.files) != 1 {
		t.Errorf("%d files are open, want the newest", len(w.files))
	}
}

// TestFollowRefused: the old file is read to its end also while the new one cannot be
// opened.
func TestFollowRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	appendTo(t, path, "")
	w := newFollower(t, path, 0, 1000)
	w.want("")
	must(t, os.Rename(path, path+".1"))
	appendTo(t, path, "new\n")
	appendTo(t, path+".1", "late\n")
	var limit unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: limit.Max}))
	for range 5 {
		w.look()
	}
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	if string(w.got) != "late\n" || !errors.Is(w.err, unix.EMFILE) {
		t.Errorf("got %q, %v; want the old file's end, and why the new one is not read", w.got, w.err)
	}
	w.want("late\nnew\n")
}

// TestFollowPaths: the file is found when it comes, whatever was missing before, and
// nothing has to be looked at meanwhile.
func TestFollowPaths(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a/b/log")
	w := newFollower(t, path, 5, 1000)
	w.want("")
	must(t, os.Mkdir(filepath.Join(dir, "a"), 0o700))
	w.want("")
	must(t, os.Mkdir(filepath.Join(dir, "a/b"), 0o700))
	w.want("")
	appendTo(t, path, "one\n")
	w.want("one\n")
	must(t, os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "old"))) // the folder itself goes
	must(t, os.MkdirAll(filepath.Join(dir, "a/b"), 0o700))
	w.want("")
	appendTo(t, path, "two\n")
	w.want("two\n")

	must(t, os.Mkdir(filepath.Join(dir, "c"), 0o700)) // by a link, whose end moves
	appendTo(t, filepath.Join(dir, "c/x"), "three\n")
	must(t, os.Symlink("../../c/x", path+".link"))
	must(t, os.Rename(path+".link", path))
	w.want("three\n")
	must(t, os.Rename(filepath.Join(dir, "c/x"), filepath.Join(dir, "c/y")))
	w.want("")
	appendTo(t, filepath.Join(dir, "c/x"), "four\n")
	w.want("four\n")
	if w.missed != 0 {
		t.Errorf("%d files missed, want none", w.missed)
	}
}

// TestFollowNotRegular: what may never end, or block, is not opened, and a file in its
// place is.
func TestFollowNotRegular(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	must(t, unix.Mkfifo(path, 0o600))
	w := newFollower(t, path, 5, 1000)
	if w.look(); !errors.Is(w.err, errNotRegular) {
		t.Fatalf("a FIFO: %v", w.err)
	}
	must(t, os.Remove(path))
	appendTo(t, path, "file\n")
	w.want("file\n")
}

// TestFollowOtherNames: what happens to other files of the folder is no reason for a
// look.
func TestFollowOtherNames(t *testing.T) {
	path, w := followOne(t)
	looks := 0
	w.pause = func() { looks++ }
	appendTo(t, path+".other", "x\n")
	if !readable(t, w.Queue()) {
		t.Fatal("another file of the folder causes no event; the test shows nothing")
	}
	if w.look(); looks != 0 {
		t.Error("another file of the folder causes a look")
	}
}

// TestFollowOverflow: when the kernel has lost events, everything is looked at.
func TestFollowOverflow(t *testing.T) {
	path, w := followOne(t)
	var n news
	w.judge(&n, -1, unix.IN_Q_OVERFLOW, "")
	if !n.due || !n.folders {
		t.Errorf("an overflow: %+v, want a look at everything", n)
	}
	// The same by the kernel: events beyond its bound hide that the file is replaced.
	limit := 16384
	if b, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events"); err == nil {
		fmt.Sscan(string(b), &limit)
	}
	if limit > 1<<17 {
		t.Skip("the kernel's bound is too large for a test")
	}
	other := []string{path + ".x", path + ".y"}
	appendTo(t, other[0], "")
	for i := range limit + 1 {
		must(t, os.Rename(other[i%2], other[1-i%2]))
	}
	appendTo(t, path+".tmp", "two\n")
	must(t, os.Rename(path+".tmp", path))
	w.want("two\n")
}

// TestFollowResume: a process goes on where the one before was: in the same file, in
// the old one under its new name, or in another if the old one is gone.
func TestFollowResume(t *testing.T) {
	tests := []struct {
		name    string
		between func(t *testing.T, path string)
		want    string
	}{
		{"nothing has happened", func(*testing.T, string) {}, "rest\n"},
		{"it was renamed", func(t *testing.T, path string) {
			must(t, os.Rename(path, path+".1"))
			appendTo(t, path+".1", "late\n")
			appendTo(t, path, "new\n")
		}, "rest\nlate\nnew\n"},
		{"it was renamed, and there is no new one yet", func(t *testing.T, path string) {
			must(t, os.Rename(path, path+".1"))
		}, "rest\n"},
		{"it was emptied", func(t *testing.T, path string) {
			must(t, os.Truncate(path, 0))
			appendTo(t, path, "after\nthe\nwhole\nfile\n")
		}, "after\nthe\nwhole\nfile\n"},
		{"it is gone", func(t *testing.T, path string) {
			must(t, os.Remove(path))
			appendTo(t, path, "new file\n")
		}, "new file\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log")
			appendTo(t, path, "a\nb\n")
			before := newFollower(t, path, 5, 1000)
			before.want("a\nb\n")
			appendTo(t, path, "rest\n")
			tt.between(t, path)
			after := newFollower(t, path, 5, 1000)
			after.Resume(before.at)
			after.want(tt.want)
		})
	}
}

// TestFollowGone: while nothing has the name each look says the same, so that the log says it
// once.
func TestFollowGone(t *testing.T) {
	path, w := followOne(t)
	must(t, os.Remove(path))
	w.caughtUp()
	was := w.err
	must(t, os.Mkdir(path, 0o700))
	must(t, os.Remove(path))
	w.caughtUp()
	if !errors.Is(was, os.ErrNotExist) || was.Error() != w.err.Error() {
		t.Errorf("looks say %q, then %q", was, w.err)
	}
}
