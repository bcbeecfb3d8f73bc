// SPDX-License-Identifier: Apache-2.0

package sample

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// CPUs returns the CPUs that this process may use, ascending.
func CPUs() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("read affinity: %w", os.NewSyscallError("sched_getaffinity", err))
	}
	var cpus []int
	for cpu := range len(set) * 64 {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}

// StartOn starts cmd on one CPU; a negative one means any. The child has the
// affinity from its first instruction on, so that a runtime which counts its
// CPUs at start (Go, libuv) sees one. Setting it afterwards, by PID, would come
// too late for that.
func StartOn(cmd *exec.Cmd, cpu int) error {
	if cpu < 0 {
		return cmd.Start()
	}
	// A child inherits the affinity of the thread that forks it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var old, set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &old); err != nil {
		return fmt.Errorf("read affinity: %w", os.NewSyscallError("sched_getaffinity", err))
	}
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("pin to cpu %d: %w", cpu, os.NewSyscallError("sched_setaffinity", err))
	}
	defer unix.SchedSetaffinity(0, &old) //nolint:errcheck // it was in force a moment ago
	return cmd.Start()
}
