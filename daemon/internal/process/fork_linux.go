// SPDX-License-Identifier: Apache-2.0

package process

import (
	"math"
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A program that a client waits for is started in one stage, by a process that shares our
// memory until it executes the program:
//
//	loop ──clone──► a list of system calls: signals, dup3, close_range, ..., execve ──► the program
//	  │                                      │ error
//	  ▼ goes on at once                      └──► image.failed, and the end of the process
//
// Nothing is copied and nobody waits for execve. fork(2) copies the page tables, and then
// both processes copy each page that they write to: a quarter of what it takes to start a
// small program, and most of that in the loop. vfork(2) waits, see start.go, and so does
// syscall.ForkExec. The two stages of start.go need another start of our own binary,
// which is as long as that of a program.
//
// Two processes run in one memory, so the new one runs no Go: no stack, no allocation, no
// race detector. Its calls are prepared in an image, and some lines of assembly make them
// from registers only (fork_linux_*.s). What they point at is kept, and stays as it is,
// as long as the process may not have executed: until it is reaped. A list that is freed
// before is not only a wrong program: the new process may walk through our heap for ever.
//
// Until it executes, both also share their end by the OOM killer, and on Linux before 5.16
// by a signal that dumps core. The filter of system calls in the packaged unit answers with
// an error, and sends no signal.
//
// The assembly is there for each line of cross/targets.

// An image is what a new process becomes. The assembly knows calls, exit and failed.
type image struct {
	calls  [12]call // the first is clone, which is made in the caller
	exit   call     // made when one of them has failed
	failed uintptr  // what that call must, and its errno: one word, since we may ask meanwhile

	argv, env []*byte // and what else the calls point at
	path, dir *byte
	limit     unix.Rlimit // of its open files
	mask      [sigsetSize / unsafe.Sizeof(uintptr(0))]uintptr
	pidfd     int32
}

// A call is a system call of a new process.
type call struct {
	number uintptr
	args   [4]uintptr
	last   uintptr // it is repeated until the first argument, counted up, is this; 0: it is made once
	must   uintptr // place in imageCalls, plus one, from bit 16 on; 0: it may fail
}

// Calls that must not fail, in the order of image.failed.
var imageCalls = [...]string{"dup3", "setpgid", "chdir", "execve"}

const (
	mustDup3 = (iota + 1) << 16
	mustSetpgid
	mustChdir
	mustExecve
)

const (
	sigsetSize = 8  // of the kernel, in bytes
	lastSignal = 64 // signal(7)
)

// defaultAction is a struct sigaction of the kernel. It is 0: SIG_DFL.
var defaultAction [8]uintptr

// newImage prepares the start of a program.
func newImage(argv []string, around Surroundings, files [3]int) (*image, error) {
	im := &image{pidfd: -1}
	var err error
	if im.path, err = syscall.BytePtrFromString(argv[0]); err == nil {
		im.argv, err = syscall.SlicePtrFromStrings(argv)
	}
	if err == nil {
		im.env, err = syscall.SlicePtrFromStrings(around.environ(os.Environ()))
	}
	if err == nil && around.Directory != "" {
		im.dir, err = syscall.BytePtrFromString(around.Directory)
	}
	if err != nil { // EINVAL: a zero byte, which config refuses
		return nil, os.NewSyscallError("execve", err)
	}
	im.prepare(files)
	return im, nil
}

// prepare lists the calls.
func (im *image) prepare(files [3]int) {
	n := 0
	add := func(must, number uintptr, args ...uintptr) *call {
		c := &im.calls[n]
		n++
		c.number, c.must = number, must
		copy(c.args[:], args)
		return c
	}
	add(0, unix.SYS_CLONE, uintptr(unix.SIGCHLD)|unix.CLONE_VM|unix.CLONE_PIDFD, 0, uintptr(unsafe.Pointer(&im.pidfd)))
	// Handlers are code of ours, so signals are blocked until all are reset. SIGKILL and
	// SIGSTOP have none.
	add(0, unix.SYS_RT_SIGACTION, 1, uintptr(unsafe.Pointer(&defaultAction)), 0, sigsetSize).last = lastSignal
	_, _, _ = syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, 0, 0, uintptr(unsafe.Pointer(&im.mask)), sigsetSize, 0, 0)
	add(0, unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&im.mask)), 0, sigsetSize)
	for i, fd := range files {
		add(mustDup3, unix.SYS_DUP3, uintptr(fd), uintptr(i))
	}
	// Not only by execve, which may take long: copies of the connections of others
	// would keep their ends from them. Before Linux 5.9 it has to do.
	add(0, unix.SYS_CLOSE_RANGE, uintptr(len(files)), math.MaxUint32)
	var err error
	if im.limit, err = fileLimit(); err == nil { // else the program keeps our limit
		add(0, unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(&im.limit)))
	}
	add(mustSetpgid, unix.SYS_SETPGID) // a signal reaches its children too
	if im.dir != nil {
		add(mustChdir, unix.SYS_CHDIR, uintptr(unsafe.Pointer(im.dir)))
	}
	add(mustExecve, unix.SYS_EXECVE, uintptr(unsafe.Pointer(im.path)),
		uintptr(unsafe.Pointer(&im.argv[0])), uintptr(unsafe.Pointer(&im.env[0])))
	im.exit = call{number: unix.SYS_EXIT_GROUP, args: [4]uintptr{127}} // as a shell that cannot execute a command
}

// fork starts the process. The lock of programs is held: one fork at a time. pidfd is -1
// on a kernel before 5.2. The caller puts the image into programs, until the process is reaped.
func (im *image) fork() (pid, pidfd int, err error) {
	n := forkImage(im)
	// qemu-user refuses CLONE_VM for what is no thread. fork(2) does it there, but the copy
	// of the image cannot tell us why it has failed.
	if n == -int(unix.EINVAL) {
		im.calls[0].args[0] = uintptr(unix.SIGCHLD)
		n = forkImage(im)
	}
	if n < 0 {
		return 0, -1, os.NewSyscallError("clone", syscall.Errno(-n))
	}
	return n, int(im.pidfd), nil
}

// The runtime's own part of a fork: it blocks signals meanwhile. Package syscall uses the
// same two.

//go:linkname beforeFork syscall.runtime_BeforeFork
func beforeFork()

//go:linkname afterFork syscall.runtime_AfterFork
func afterFork()

// forkImage must not grow the stack between the two, nor call what the race detector watches.
//
//go:noinline
//go:norace
func forkImage(im *image) int {
	beforeFork()
	n := enter(im)
	afterFork()
	return n
}

// enter makes the first call of im, clone, and returns what that does in the caller: the
// number of the process, or that of an error, negative. The new process makes the others.
//
//go:noescape
func enter(im *image) int

// failure says why the process has not become the program, or nil. It is known when the
// process has ended, or what it had open is closed.
func (im *image) failure() error {
	n := atomic.LoadUintptr(&im.failed)
	if n == 0 {
		return nil
	}
	return os.NewSyscallError(imageCalls[n>>16-1], syscall.Errno(n&(1<<16-1)))
}
