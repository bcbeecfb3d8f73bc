// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
)

const (
	// memoryFloor is what the process needs beside queues: the runtime, the
	// code's data, the read buffer and garbage between two collections. The
	// daemon at rest stays below 8 MiB resident.
	memoryFloor = 24 << 20
	// perConnection is the daemon's own memory for a connection, rounded up.
	perConnection = 1 << 10
)

// fitConnections makes room under RLIMIT_NOFILE (getrlimit(2)) for the
// connections asked for, and returns how many there is room for; further
// clients wait in the backlog. The hard limit is the administrator's word and
// is not raised, even where CAP_SYS_RESOURCE would allow it.
func fitConnections(cfg *config.Config) (connections int, err error) {
	reserved := cfg.ReservedFiles()
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 0, os.NewSyscallError("getrlimit", err)
	}
	want := uint64(cfg.Limits.Connections + reserved)
	if soft := min(want, uint64(r.Max)); uint64(r.Cur) < soft {
		r.Cur = soft
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
			return 0, os.NewSyscallError("setrlimit", err)
		}
	}
	got := min(want, r.Cur)
	if got <= uint64(reserved) {
		return 0, fmt.Errorf("limit of open files is %d, at least %d are needed: raise LimitNOFILE= or ulimit -n",
			r.Cur, reserved+1)
	}
	return int(got) - reserved, nil
}

// internalConns is how many connections of the loop are not clients: the pipes
// of a program count against the loop's limit as well.
func internalConns(cfg *config.Config) (n int) {
	for _, s := range cfg.Services {
		n += s.Conns()
	}
	return n
}

// limitMemory tells the garbage collector the ceiling, so that the bound also
// holds on boards whose kernel has the memory controller off. A value in the
// environment wins (GOMEMLIMIT in the runtime package's documentation).
func limitMemory(cfg *config.Config) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryCeiling(cfg))
	}
}

// readBudget returns how much is read of one client in a turn of the loop. What of
// it a service leaves to its next turn is kept and counts for limits.memory, so
// where that is small a client that pipelines would pay for what it has only just
// sent. A reload does not change it.
func readBudget(memory int64) int {
	return int(min(64<<10, max(4<<10, memory/128)))
}

// memoryCeiling is what the whole process may need under cfg. What services
// hold by design counts in full: were it left out, the collector would run all
// the time in the vain attempt to get below the ceiling.
func memoryCeiling(cfg *config.Config) int64 {
	ceiling := cfg.Limits.Memory + memoryFloor + int64(cfg.Limits.Connections)*perConnection
	for _, s := range cfg.Services {
		ceiling += 2 * s.Holds() // during a reload the former service's as well
	}
	return ceiling
}
