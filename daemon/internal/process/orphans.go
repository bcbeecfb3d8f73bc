// SPDX-License-Identifier: Apache-2.0

package process

import (
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A process whose parent has ended becomes a child of PID 1, and in a container that
// may be this process. No other process can wait for it, so a program that starts
// others and forgets them would fill the process table. wait4(2) for any child would
// also reap the programs of handlers, and their numbers must not be used again before
// the loop has seen their end. So ReapOrphans first asks the kernel which child has
// ended.

// programs holds the processes that this package has started and not yet reaped. It is
// global because children belong to the whole process. The lock is held while a program
// is being started, because its number is not known until then.
var programs = struct {
	sync.Mutex
	pids map[int]*image // with what a new process may still read; nil: nothing
}{pids: make(map[int]*image)}

// ReapOrphans reaps children that have ended and are not programs of handlers. It
// reports whether it must be called again soon, because the kernel shows it a program
// first.
func ReapOrphans() (again bool) {
	if !programs.TryLock() {
		return true
	}
	defer programs.Unlock()
	for {
		pid := zombie()
		if _, ours := programs.pids[pid]; pid == 0 || ours {
			return pid != 0
		}
		_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
	}
}

// zombie returns a child that has ended, or 0. It leaves it as it is.
func zombie() (pid int) {
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); err != nil {
		return 0 // ECHILD: there is no child at all
	}
	// si_pid follows three numbers, aligned like a pointer (sigaction(2)).
	const offset = (12 + unsafe.Sizeof(uintptr(0)) - 1) &^ (unsafe.Sizeof(uintptr(0)) - 1)
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(&info), offset)))
}
