// SPDX-License-Identifier: Apache-2.0

package faulttest

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func itoa(n int) string { return strconv.Itoa(n) }

// TestLittleMemory: clients that send and do not read, with limits.memory set,
// and an address space that has room for what that promises. What the runtime
// reserves at a time is 64 MiB.
func TestLittleMemory(t *testing.T) {
	need(t)
	forBackends(t, func(t *testing.T, backend string) {
		h := newHost(t, backend, `memory = "4MiB"`)
		d := h.start()
		h.serves()
		h.limitMemory(d, 192<<20)
		release := h.flood(60)
		h.serves()
		release()
		h.serves()
		if !d.alive() {
			t.Fatalf("out of memory\n%s", d.all())
		}
		d.calm()
		d.stop()
	})
}

// TestNoMemory: there is nothing left at all. The process may end, as any Go
// program does, and then says why; the next one serves.
func TestNoMemory(t *testing.T) {
	need(t)
	forBackends(t, func(t *testing.T, backend string) {
		h := newHost(t, backend, "")
		d := h.start()
		h.limitMemory(d, 0)
		ended := make(chan bool)
		go func() {
			select {
			case <-d.done:
				close(ended)
			case <-time.After(2 * time.Second):
				close(ended)
			}
		}()
		release := h.flood(60)
		<-ended
		release()
		if !d.alive() {
			status, _ := d.ended()
			if status == 0 || len(d.log("out of memory|cannot allocate memory|failed to create new OS thread")) == 0 && !d.collectorFell() {
				t.Errorf("ended with status %d\n%s", status, d.all())
			}
			d = h.start()
		}
		h.serves()
		d.stop()
	})
}

// collectorFell reports whether the process has ended in Go's collector. That of Go
// 1.26 does not look whether it was given the memory for its own lists.
func (d *daemon) collectorFell() bool {
	return len(d.log("^SIGSEGV: ")) > 0 && len(d.log(`^runtime\.\(\*spanQueue\)`)) > 0
}

// limitMemory leaves the daemon so much more address space than it has.
func (h *host) limitMemory(d *daemon, more uint64) {
	h.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.pid()))
	h.check(err)
	m := regexp.MustCompile(`VmSize:\s+(\d+) kB`).FindSubmatch(status)
	if m == nil {
		h.t.Fatalf("no VmSize in %s", status)
	}
	size, err := strconv.ParseUint(string(m[1]), 10, 64)
	h.check(err)
	limit := unix.Rlimit{Cur: size<<10 + more, Max: size<<10 + more}
	h.check(unix.Prlimit(d.pid(), unix.RLIMIT_AS, &limit, nil))
}

// flood brings clients that send as much as is taken and read nothing. release
// has them go.
func (h *host) flood(n int) (release func()) {
	var all []*client
	var done sync.WaitGroup
	for i := range n {
		c, err := h.dial([]string{"echo", "echo-unix"}[i%2])
		h.check(err)
		all = append(all, c)
		done.Go(func() {
			p := make([]byte, 64<<10)
			for range 256 {
				_ = c.SetWriteDeadline(time.Now().Add(time.Second))
				if _, err := c.Write(p); err != nil {
					return // the server does not take more
				}
			}
		})
	}
	done.Wait()
	return func() {
		for _, c := range all {
			_ = c.Close()
		}
	}
}
