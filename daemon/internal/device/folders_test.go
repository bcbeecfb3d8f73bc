// SPDX-License-Identifier: Apache-2.0

package device

import (
	"fmt"
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
