// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A rotation is a directory in which a program writes numbered lines and others rotate
// its file.
type rotation struct {
	t       *testing.T
	rng     *rand.Rand
	path    string
	writer  *os.File
	half    string // of the line that is being written
	next    int    // number of the next line
	olds    int
	w       *follower
	may     []bool // by number: the line may be lost, since copytruncate took it
	pending bool   // the name was taken away, and the program writes on to its old file
}

func (r *rotation) reopen() {
	if r.writer != nil {
		r.writer.Close()
	}
	fd, err := os.OpenFile(r.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	must(r.t, err)
	r.writer, r.pending = fd, false
}

// write writes a line, or a part of one.
func (r *rotation) write() {
	if r.half == "" {
		r.half = fmt.Sprintf("line %d %s\n", r.next, strings.Repeat("x", r.rng.IntN(300)))
		r.may = append(r.may, false)
		r.next++
	}
	n := len(r.half)
	if r.rng.IntN(4) == 0 {
		n = 1 + r.rng.IntN(n)
	}
	_, err := r.writer.WriteString(r.half[:n])
	must(r.t, err)
	r.half = r.half[n:]
}

// seen reports whether the follower has seen the file that is written to: a file that
// comes and goes between two looks cannot be known.
func (r *rotation) seen() bool {
	var is unix.Stat_t
	must(r.t, unix.Fstat(int(r.writer.Fd()), &is))
	return r.w.known(is)
}

// step has somebody do something.
func (r *rotation) step() {
	if r.half != "" {
		r.write() // the program rotates, and is rotated, between two lines
		return
	}
	r.olds++
	old := fmt.Sprint(r.path, ".", r.olds)
	switch op := r.rng.IntN(12); {
	case op < 6:
		r.write()
	case r.pending && op < 9:
		r.reopen()
	case r.pending || !r.seen():
		r.write()
	case op == 6: // rename, and the program makes the new file some time later
		must(r.t, os.Rename(r.path, old))
		r.pending = true
	case op == 7: // logrotate's create: the new file is there at once
		must(r.t, os.Rename(r.path, old))
		appendTo(r.t, r.path, "")
		r.pending = true
	case op == 8: // replaced by rename
		appendTo(r.t, r.path+".tmp", "")
		must(r.t, os.Rename(r.path+".tmp", r.path))
		r.pending = true
	case op == 9: // deleted and made anew
		must(r.t, os.Remove(r.path))
		r.reopen()
	case op == 10 && r.rng.IntN(4) == 0:
		r.truncate()
	default:
		r.restart(old)
	}
}

// line writes a whole line.
func (r *rotation) line() {
	for r.write(); r.half != ""; {
		r.write()
	}
}

// truncate is logrotate's copytruncate: what was not read by then is in the copy only.
func (r *rotation) truncate() {
	for i := max(r.w.last(), 0); i < r.next; i++ {
		r.may[i] = true
	}
	must(r.t, r.writer.Truncate(0))
}

// last returns the number of the last line that was read.
func (w *follower) last() int {
	n := -1
	if i := bytes.LastIndex(w.got, []byte("line ")); i >= 0 {
		fmt.Sscanf(string(w.got[i:]), "line %d", &n)
	}
	return n
}

// restart has another follower go on, as a restart of the daemon does, while the file
// is rotated or not.
func (r *rotation) restart(old string) {
	if r.w.inLook || len(r.w.files) != 1 || r.w.at.Ino == 0 {
		return
	}
	before := r.w
	r.w = newFollower(r.t, r.path, 1000, 1<<20)
	r.w.pause, r.w.got, r.w.half, r.w.at = before.pause, before.got, before.half, before.at
	r.w.Resume(before.at)
	if r.rng.IntN(2) == 0 {
		must(r.t, os.Rename(r.path, old))
		r.pending = true
		for range r.rng.IntN(3) {
			r.line()
		}
	}
}

// TestFollowSchedules: random schedules of a program that writes, of every way of
// rotation and of looks, also in the middle of a look. Every line comes once and in
// order; only lines that copytruncate has cut off before they were read may be missing.
func TestFollowSchedules(t *testing.T) {
	lost := 0
	for seed := range 30 {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			r := &rotation{t: t, rng: rand.New(rand.NewPCG(uint64(seed), 1)), path: filepath.Join(t.TempDir(), "log")}
			r.reopen()
			r.w = newFollower(t, r.path, 1000, 1<<20)
			r.w.pause = func() {
				for range r.rng.IntN(8) {
					r.step()
				}
			}
			for range 200 {
				for range r.rng.IntN(2) {
					r.step()
				}
				if r.rng.IntN(2) == 0 || readable(t, r.w.Queue()) {
					r.w.look()
				}
			}
			for r.half != "" || r.pending {
				r.step()
			}
			r.w.pause = nil
			r.w.caughtUp()
			lost += r.compare()
			if r.w.missed != 0 {
				t.Errorf("%d files missed, want none", r.w.missed)
			}
			r.writer.Close()
		})
	}
	t.Logf("%d lines were cut off before they were read", lost)
}

// compare holds what was read against what was written.
func (r *rotation) compare() (lost int) {
	want := 0
	for line := range strings.Lines(string(r.w.got)) {
		n := -1
		if fmt.Sscanf(line, "line %d", &n); n < want || !r.lost(want, n) {
			r.t.Fatalf("got %q, want line %d", line, want)
		}
		lost += n - want
		want = n + 1
	}
	if !r.lost(want, r.next) {
		r.t.Fatalf("the lines from %d to %d do not come", want, r.next-1)
	}
	return lost + r.next - want
}

// lost reports whether all of some lines may be missing.
func (r *rotation) lost(from, to int) bool {
	return !slices.Contains(r.may[from:to], false)
}
