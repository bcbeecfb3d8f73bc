// SPDX-License-Identifier: Apache-2.0

package device

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/evloop"
	"penstock/evloop/evlooptest"
)

// queues returns how many queues of inotify the process has.
func queues() (n int) {
	for _, d := range evlooptest.Descriptors() {
		if strings.HasSuffix(d, "anon_inode:inotify") {
			n++
		}
	}
	return n
}

// TestFoldersShared: many devices that are not there share one queue, each is found when it
// comes, and the last one that ends takes the queue with it.
func TestFoldersShared(t *testing.T) {
	const devices = 200 // a user may have 128 queues
	dir := t.TempDir()
	name := func(i int) string { return filepath.Join(dir, fmt.Sprint("fifo", i)) }
	first := serve(t, evloop.Config{}, Options{Path: name(0)})
	all := []*rig{first}
	first.do(func() {
		for i := 1; i < devices; i++ {
			r := &rig{t: t, loop: first.loop}
			r.dev = New(Options{Path: name(i)}, first.dev.folders, first.dev.log, r)
			r.dev.Start()
			all = append(all, r)
		}
	})
	first.until("all that none is there", func() bool {
		for _, r := range all {
			if r.downs == 0 {
				return false
			}
		}
		return true
	})
	if n := queues(); n != 1 {
		t.Errorf("%d devices have %d queues, want 1", devices, n)
	}
	first.do(func() {
		for _, r := range all {
			r.dev.Times.First, r.dev.Times.Most = time.Hour, time.Hour // only the folder can tell
			r.dev.again(doWait)
		}
	})
	for i := range all {
		if err := unix.Mkfifo(name(i), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first.until("all devices", func() bool {
		for _, r := range all {
			if r.ups == 0 {
				return false
			}
		}
		return true
	})
	ended := make(chan int, devices)
	first.do(func() {
		for i, r := range all {
			r.dev.Stop(func() { ended <- i })
		}
	})
	for range all {
		<-ended
	}
	if n := queues(); n != 0 {
		t.Errorf("%d queues are left", n)
	}
}

// watches returns how many folders the queue of f watches, as the kernel says.
func watches(t *testing.T, f *Folders) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprint("/proc/self/fdinfo/", f.fd))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), "inotify wd:")
}

// TestOneOfTwoLeaves: the watches that only it has needed go with it, but not while a
// goroutine may have got one of them for another device. The other is still told.
func TestOneOfTwoLeaves(t *testing.T) {
	dir := t.TempDir()
	shared, own := filepath.Join(dir, "fifo"), filepath.Join(dir, "own", "fifo")
	if err := os.Mkdir(filepath.Dir(own), 0o700); err != nil {
		t.Fatal(err)
	}
	stays := serve(t, evloop.Config{}, Options{Path: shared})
	f := stays.dev.folders
	stays.until("that it is not there", func() bool { return stays.downs > 0 && f.adding == 0 })
	var alone, both int
	leaves := &rig{t: t, loop: stays.loop}
	stays.do(func() {
		stays.dev.Times.First, stays.dev.Times.Most = time.Hour, time.Hour // only the folder can tell
		stays.dev.again(doWait)
		alone = watches(t, f)
		leaves.dev = New(Options{Path: own}, f, stays.dev.log, leaves)
		leaves.dev.Times.First, leaves.dev.Times.Most = time.Hour, time.Hour
		leaves.dev.Start()
	})
	leaves.until("that it is not there either", func() bool { return leaves.downs > 0 })
	stays.do(func() {
		if both = watches(t, f); both != alone+1 {
			t.Errorf("%d watches for both, want one more than %d", both, alone)
		}
		f.adding++ // somebody looks for a third one
	})
	leaves.stop()
	stays.do(func() {
		if n := watches(t, f); n != both {
			t.Errorf("%d watches while one is added, want %d", n, both)
		}
		f.added(&Device{}, way{})
		if n := watches(t, f); n != alone {
			t.Errorf("%d watches are left, want %d", n, alone)
		}
	})
	if err := unix.Mkfifo(shared, 0o600); err != nil {
		t.Fatal(err)
	}
	stays.until("the device that stays", func() bool { return stays.ups > 0 })
}

// TestFoldersOutliveTheLoop: the queue stays open for a goroutine that adds watches to it,
// and goes with that when the last device and the loop have ended before.
func TestFoldersOutliveTheLoop(t *testing.T) {
	for _, live := range []bool{true, false} {
		loop, err := evloop.New(evloop.Config{})
		if err != nil {
			t.Fatal(err)
		}
		f, d := NewFolders(loop), &Device{}
		f.join(d)
		f.adding++
		if !live {
			loop.Close()
		}
		if f.leave(d, live); queues() != 1 {
			t.Errorf("live %v: %d queues while watches are added, want 1", live, queues())
		}
		loop.Close()
		if loop.PostOr(func() { f.added(d, way{}) }, f.abandoned); queues() != 0 {
			t.Errorf("live %v: %d queues at the end, want none", live, queues())
		}
	}
}
