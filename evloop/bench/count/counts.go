// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The file of counts, as insns.c writes it.
const (
	threads = 64
	blocks  = 65536
)

type counts struct {
	gate
	insns, calls [threads]uint64
	blocks       [blocks]block
}

// A gate holds the server before it waits for events. seen is the arrival that held has
// seen: the one to let pass, whatever the server does meanwhile.
type gate struct{ closed, arrivals, open, seen uint32 }

type block struct{ address, insns, runs uint64 }

// mapCounts makes the file and maps it.
func mapCounts(path string) (*counts, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("make file of counts: %w", err)
	}
	defer f.Close()
	size := int(unsafe.Sizeof(counts{}))
	if err := f.Truncate(int64(size)); err != nil {
		return nil, fmt.Errorf("make file of counts: %w", err)
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map file of counts: %w", os.NewSyscallError("mmap", err))
	}
	return (*counts)(unsafe.Pointer(unsafe.SliceData(mem))), nil
}

func (c *counts) unmap() {
	mem := unsafe.Slice((*byte)(unsafe.Pointer(c)), unsafe.Sizeof(*c))
	unix.Munmap(mem) //nolint:errcheck // the process ends soon
}

// shut closes the gate. A server that is asleep comes to it after the next message.
func (g *gate) shut() { atomic.StoreUint32(&g.closed, 1) }

// held waits until the server is at the gate.
func (g *gate) held() error {
	patience := unix.NsecToTimespec(int64(100 * time.Millisecond))
	for deadline := time.Now().Add(grace); time.Now().Before(deadline); {
		arrivals := atomic.LoadUint32(&g.arrivals)
		if arrivals != atomic.LoadUint32(&g.open) {
			g.seen = arrivals
			return nil
		}
		futex(&g.arrivals, futexWait, arrivals, &patience)
	}
	return fmt.Errorf("the server does not wait for events after %v", grace)
}

// pass lets the server pass that held has seen. If it was tired of waiting, it has passed,
// and may have come again.
func (g *gate) pass() {
	if atomic.LoadUint32(&g.open) < g.seen {
		atomic.StoreUint32(&g.open, g.seen)
		futex(&g.open, futexWake, 1, nil)
	}
}

// The operations of futex(2). The server is another process, so they are not the private
// ones.
const (
	futexWait = 0
	futexWake = 1
)

// futex ignores errors: who waits looks again.
func futex(word *uint32, op int, n uint32, patience *unix.Timespec) {
	unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), uintptr(op), uintptr(n), uintptr(unsafe.Pointer(patience)), 0, 0) //nolint:errcheck // see above
}

// A reading is what all threads have done so far.
type reading struct{ insns, calls uint64 }

func (c *counts) read() (r reading) {
	for i := range threads {
		r.insns += atomic.LoadUint64(&c.insns[i])
		r.calls += atomic.LoadUint64(&c.calls[i])
	}
	return r
}

// runs returns how often each block has run.
func (c *counts) runs() []uint64 {
	r := make([]uint64, blocks)
	for i := range r {
		r[i] = atomic.LoadUint64(&c.blocks[i].runs)
	}
	return r
}
