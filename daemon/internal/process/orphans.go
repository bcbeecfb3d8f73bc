// SPDX-License-Identifier: Apache-2.0

package process

import (
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A process whose parent has ended becomes a child of PID 1, which in a
// container may be us. Nobody else can bury it: a program that starts others
// and forgets them would fill the table of processes. wait4(2) for any child
// would also reap the programs, and their numbers must stay ours until the loop
// has seen their end. So the kernel is asked first which child has ended.

// programs holds the processes that this package has started and not reaped. It
// is global because children belong to the whole process. The lock is held while
// a program is being started, when its number is not known yet.
var programs = struct {
	sync.Mutex
	pids map[int]bool
}{pids: make(map[int]bool)}

// ReapOrphans buries children that have ended and are no programs. It reports
// whether it has to be called again soon, because a program is in the way.
func ReapOrphans() (again bool) {
	if !programs.TryLock() {
		return true
	}
	defer programs.Unlock()
	for {
		pid := zombie()
		if pid == 0 || programs.pids[pid] {
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
