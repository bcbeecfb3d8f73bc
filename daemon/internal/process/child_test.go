// SPDX-License-Identifier: Apache-2.0

package process

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/report"
	"penstock/evloop"
	"penstock/evloop/evlooptest"
)

// A nursery starts children, and reads what they say.
type nursery struct {
	t    *testing.T
	loop *evloop.Loop
	log  *report.Service
}

func newNursery(t *testing.T) nursery {
	t.Helper()
	loop, err := evloop.New(evloop.Config{})
	if err != nil {
		t.Fatal(err)
	}
	evlooptest.Run(t, loop)
	return nursery{t, loop, report.New(slog.New(slog.DiscardHandler), config.PeersFull, loop).Service("x")}
}

// spawn starts a child, which says nothing more once it has ended. The caller closes said.
func (n nursery) spawn(argv []string, around Surroundings, over func(error)) (said *os.File, c *Child) {
	n.t.Helper()
	said, out, err := os.Pipe()
	if err != nil {
		n.t.Fatal(err)
	}
	defer out.Close()
	evlooptest.Do(n.t, n.loop, func() {
		fd := int(out.Fd())
		c, err = Spawn(n.loop, n.log, Task{Argv: argv, Around: around, In: fd, Out: fd}, over)
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return said, c
}

// TestSpawnSharesMemory: what a program is given stays as it was said until it has it,
// however much the daemon allocates and frees meanwhile, and however many start at once.
func TestSpawnSharesMemory(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	stop := make(chan struct{})
	var churn, all sync.WaitGroup
	churn.Go(func() {
		kept := make([][]byte, 64)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				kept[i%len(kept)] = []byte(strings.Repeat("\xff", 1<<(4+i%10))) // of the sizes of argv and env
			}
		}
	})
	n := newNursery(t)
	for i := range 200 {
		word := fmt.Sprint(i, strings.Repeat("word", i))
		all.Add(1)
		said, _ := n.spawn([]string{"/bin/sh", "-c", `printf '%s %s %s' "$1" "$A" "$PWD"`, "sh", word},
			Surroundings{Env: []string{"A=" + word}, Directory: "/usr"}, func(failed error) {
				if failed != nil {
					t.Error(failed)
				}
				all.Done()
			})
		all.Go(func() {
			defer said.Close()
			if got, err := io.ReadAll(said); string(got) != word+" "+word+" /usr" || err != nil {
				t.Errorf("program %d has got %q (%v)", i, got, err)
			}
		})
	}
	all.Wait()
	close(stop)
	churn.Wait()
}

// TestSpawnSignals: a program begins with no signal blocked, and none ignored.
func TestSpawnSignals(t *testing.T) {
	n := newNursery(t)
	over := make(chan error)
	said, _ := n.spawn([]string{"/bin/sh", "-c", "while read -r l; do case $l in Sig[BI]*) echo $l;; esac; done </proc/self/status"}, Surroundings{}, func(error) { close(over) })
	defer said.Close()
	got, err := io.ReadAll(said)
	<-over
	want := "SigBlk: 0000000000000000\nSigIgn: 0000000000000000\n"
	if string(got) != want || err != nil {
		t.Errorf("got %q (%v), want %q", got, err, want)
	}
}

// TestSpawnTellsWhy: the call that has failed is known as soon as the program's output has ended.
func TestSpawnTellsWhy(t *testing.T) {
	n := newNursery(t)
	for want, around := range map[string]Surroundings{
		"execve: no such file or directory": {},
		"chdir: not a directory":            {Directory: "/dev/null"},
	} {
		if os.Getenv("PENSTOCK_EMULATED") != "" {
			want = "<nil>" // no process can share the memory of another there
		}
		over := make(chan error, 1)
		said, c := n.spawn([]string{"/no such program"}, around, func(failed error) { over <- failed })
		_, _ = io.ReadAll(said)
		said.Close()
		evlooptest.Do(t, n.loop, func() {
			if err := c.Failed(); fmt.Sprint(err) != want {
				t.Errorf("failed with %v, want %s", err, want)
			}
		})
		if err := <-over; fmt.Sprint(err) != want {
			t.Errorf("over with %v, want %s", err, want)
		}
	}
}

// TestSpawnDoesNotWait: the loop goes on while the kernel executes a program, here one for
// which somebody has to give back a lease first (fcntl(2)). A child that is told to end
// meanwhile ends.
func TestSpawnDoesNotWait(t *testing.T) {
	f := leased(t)
	n := newNursery(t)
	over := make(chan error, 1)
	said, c := n.spawn([]string{f.Name()}, Surroundings{}, func(failed error) { over <- failed })
	defer said.Close()
	for { // what it has to become
		kind, err := unix.FcntlInt(f.Fd(), unix.F_GETLEASE, 0)
		if err != nil {
			t.Fatal(err)
		}
		if kind != unix.F_WRLCK {
			break
		}
	}
	evlooptest.Do(t, n.loop, func() {
		select {
		case err := <-over:
			t.Errorf("the program has ended with %v while nobody has executed it", err)
		default:
		}
		c.Stop(0)
	})
	select {
	case <-over:
		if c.ended != "signal: terminated" { // it has no handler of ours any more
			t.Errorf("ended with %q", c.ended)
		}
	case <-time.After(evlooptest.Patience):
		t.Error("the child lives on")
	}
}

// leased makes a program that nobody can execute before the lease on it is given back.
func leased(t *testing.T) *os.File {
	t.Helper()
	path := t.TempDir() + "/program"
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Skip("this file system has no leases:", err)
	}
	return f
}
