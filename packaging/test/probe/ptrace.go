// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Names of ptrace(2) that x/sys/unix does not have.
const (
	ptraceGetSyscallInfo = 0x420e
	syscallEntry         = 1
)

// syscallInfo is struct ptrace_syscall_info of a call that begins.
type syscallInfo struct {
	op   uint8
	_    [3]uint8
	arch uint32
	_    [2]uint64
	nr   uint64
	args [6]uint64
}

// attach traces all threads of pid, and has each stop once.
func attach(pid int) error {
	known := map[int]bool{}
	for more := true; more; {
		more = false
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			return err
		}
		for _, task := range tasks {
			thread, err := strconv.Atoi(task.Name())
			if err != nil || known[thread] {
				continue
			}
			known[thread], more = true, true
			// That of x/sys/unix has no options, and setting them later needs a stopped thread.
			_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(thread), 0,
				unix.PTRACE_O_TRACECLONE|unix.PTRACE_O_TRACESYSGOOD, 0, 0)
			if errno != 0 && thread == pid {
				return os.NewSyscallError("ptrace", errno)
			}
			if errno != 0 {
				continue // a new one of a traced thread, or one that has ended
			}
			if err := unix.PtraceInterrupt(thread); err != nil && err != unix.ESRCH {
				return os.NewSyscallError("ptrace", err)
			}
		}
	}
	return nil
}

// errEnded says that the process has ended by itself.
var errEnded = errors.New("the traced process has ended")

// next waits for the next system call of any thread. Everything else goes on as if
// nobody looked on.
func next(pid int) (thread int, info *syscallInfo, err error) {
	for {
		var status unix.WaitStatus
		thread, err := unix.Wait4(-1, &status, unix.WALL, nil)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, nil, os.NewSyscallError("wait4", err)
		case !status.Stopped():
			if thread == pid {
				return 0, nil, errEnded
			}
			continue
		}
		passed := 0
		switch stop := status.StopSignal(); {
		case stop == unix.SIGTRAP|0x80:
			info := new(syscallInfo)
			_, _, errno := unix.Syscall6(unix.SYS_PTRACE, ptraceGetSyscallInfo, uintptr(thread),
				unsafe.Sizeof(*info), uintptr(unsafe.Pointer(info)), 0, 0)
			if errno == 0 {
				return thread, info, nil
			}
		case status>>16 == 0:
			passed = int(stop) // a signal
		}
		_ = unix.PtraceSyscall(thread, passed)
	}
}

// payload returns the beginning of what a stopped thread sends with a struct msghdr of 64
// bits at that address.
func payload(thread int, header uintptr) []byte {
	word := func(at uintptr) uint64 {
		var b [8]byte
		if _, err := unix.PtracePeekData(thread, at, b[:]); err != nil {
			return 0
		}
		return binary.NativeEndian.Uint64(b[:])
	}
	iov := uintptr(word(header + 16))
	base, length := uintptr(word(iov)), word(iov+8)
	b := make([]byte, min(length, 16))
	if _, err := unix.PtracePeekData(thread, base, b); err != nil {
		return nil
	}
	return b
}
