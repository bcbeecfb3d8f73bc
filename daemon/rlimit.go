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
	// memoryFloor is what the process needs beside queues: for the Go runtime, the
	// program's data, the read buffer, and garbage between two collections. At rest
	// the daemon has less than 8 MiB resident.
	memoryFloor = 24 << 20
	// perConnection is the daemon's own memory for a connection, rounded up.
	perConnection = 1 << 10
)

// holdGarbage keeps the runtime from collecting garbage until again is called. All
// clients wait for a process that takes them over, and it allocates something for each.
// The limit of memory holds all the same.
func holdGarbage() (again func()) {
	was := debug.SetGCPercent(-1)
	return func() { debug.SetGCPercent(was) }
}

// fitConnections raises RLIMIT_NOFILE (getrlimit(2)) for the connections that cfg asks
// for, and returns how many fit. Further clients wait in the backlog. The hard limit
// is the administrator's decision and is not raised, even where CAP_SYS_RESOURCE
// would allow it.
func fitConnections(cfg *config.Config) (connections int, err error) {
	reserved := cfg.ReservedFiles()
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 0, os.NewSyscallError("getrlimit", err)
	}
	want := uint64(cfg.Limits.Connections + cfg.Beside(cfg.Limits.Connections) + reserved + config.ControlFiles)
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
	return clientsIn(cfg, int(got)-reserved), nil
}

// clientsIn returns how many clients fit into so many files. Every second file may be
// that of a relay's backend, unless max_connections says that there are fewer relays. The
// odd one is left over: with half a pair too many, a restart would have to end a client.
func clientsIn(cfg *config.Config, files int) int {
	n := max(files-cfg.Beside(cfg.Limits.Connections), files/2, 1)
	if cfg.Beside(1) == 0 {
		n = files
	}
	return min(n, cfg.Limits.Connections)
}

// setLimits tells the loop how many connections there may be. Those that clients have
// beside their own come on top as they are made, so that limits.connections counts
// clients, whatever services they use.
func (d *Daemon) setLimits(clients int, cfg *config.Config) {
	d.loop.SetLimits(clients+internalConns(cfg)+d.beside, cfg.Limits.Memory)
}

// hasBeside counts n more connections that clients have beside their own.
func (d *Daemon) hasBeside(n int) {
	d.beside += n
	d.setLimits(d.places, d.cfg)
}

// internalConns returns how many connections of the loop are not clients: the pipes
// of programs count for the loop's limit too.
func internalConns(cfg *config.Config) (n int) {
	for _, s := range cfg.Services {
		n += s.Conns()
	}
	return n
}

// limitMemory tells the garbage collector the memory limit, so that it also holds on
// boards whose kernel has no memory controller. If GOMEMLIMIT is set in the
// environment, that value holds.
func limitMemory(cfg *config.Config) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryCeiling(cfg))
	}
}

// readBudget returns how many bytes are read from one client in a turn of the loop.
// Bytes that a service leaves for the next turn are kept and count for limits.memory.
// So if that limit is small, the budget is small too: otherwise a client that
// pipelines would be cut for bytes that it has only just sent. With a limit below 8 MiB
// a proxy has nothing passed on inside the kernel (see evloop.Config). A reload does
// not change the budget.
func readBudget(memory int64) int {
	return int(min(64<<10, max(4<<10, memory/128)))
}

// memoryCeiling is what the whole process may need under cfg. What services always
// hold counts in full. Without it the collector would run all the time and never get
// below the ceiling.
func memoryCeiling(cfg *config.Config) int64 {
	ceiling := cfg.Limits.Memory + memoryFloor + int64(cfg.Limits.Connections+cfg.Beside(cfg.Limits.Connections))*perConnection
	for _, s := range cfg.Services {
		ceiling += 2 * s.Holds() // during a reload the old service holds as much again
	}
	return ceiling
}
