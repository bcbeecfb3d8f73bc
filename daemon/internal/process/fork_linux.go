// SPDX-License-Identifier: Apache-2.0

package process

import (
	"math"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A program that a client waits for is started in one stage, by fork(2):
//
//	loop ──fork──► copy of ourselves ──dup3, close_range, prlimit, setpgid, chdir, execve──► the program
//	  │                                      │ error
//	  ▼ goes on at once                      └──► errno ──► status pipe
//
// Nobody waits for execve, since the new process has a copy of the memory. To copy the
// page tables of a small process takes a fifth of a millisecond. The two stages of start.go
// need another start of our own binary, which is as long as that of a program: too much
// for each client. syscall.ForkExec waits in vfork(2), see start.go.
//
// Between fork and execve the process has one thread and the locks of all others, so it
// makes system calls and nothing else: what they need is prepared before.

// An image is what a new process becomes.
type image struct {
	path      *byte
	argv, env []*byte
	dir       *byte       // nil: our own
	files     [3]int      // its standard input, output and error output
	limit     unix.Rlimit // of its open files
	status    int         // where it says why it has not become it
	failed    [2]byte
}

// Calls that can fail in the new process, as failed[0] has them.
var imageCalls = [...]string{"dup3", "setpgid", "chdir", "execve"}

// newImage prepares what execve needs.
func newImage(argv []string, around Surroundings, files [3]int, status int) (*image, error) {
	im := &image{files: files, status: status}
	im.limit, _ = fileLimit() // if that fails, the program keeps our limit
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
	return im, os.NewSyscallError("execve", err) // EINVAL: a zero byte, which config refuses
}

// fork starts the process. The lock of programs is held: one fork at a time. pidfd is -1 on a kernel before 5.2.
func (im *image) fork() (pid, pidfd int, err error) {
	n, fd, errno := forkImage(im)
	if errno != 0 {
		return 0, -1, os.NewSyscallError("fork", errno)
	}
	return int(n), int(fd), nil
}

// The runtime's own part of a fork: it blocks signals meanwhile, and undoes its handlers in
// the new process. Package syscall uses the same three.

//go:linkname beforeFork syscall.runtime_BeforeFork
func beforeFork()

//go:linkname afterFork syscall.runtime_AfterFork
func afterFork()

//go:linkname afterForkInChild syscall.runtime_AfterForkInChild
func afterForkInChild()

// forkImage returns in the caller only. In the new process it must not allocate, grow the
// stack or call what the race detector watches.
//
//go:noinline
//go:norace
//go:nocheckptr
func forkImage(im *image) (pid uintptr, pidfd int32, errno syscall.Errno) {
	pidfd = -1
	var call, i int
	beforeFork()
	pid, _, errno = syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD)|unix.CLONE_PIDFD, 0, uintptr(unsafe.Pointer(&pidfd)), 0, 0, 0)
	if pid != 0 || errno != 0 {
		afterFork()
		return pid, pidfd, errno
	}
	afterForkInChild()
	for i = 0; i < 3 && errno == 0; i++ {
		_, _, errno = syscall.RawSyscall(unix.SYS_DUP3, uintptr(im.files[i]), uintptr(i), 0)
	}
	if errno == 0 && im.status != statusFD {
		_, _, errno = syscall.RawSyscall(unix.SYS_DUP3, uintptr(im.status), statusFD, unix.O_CLOEXEC)
	}
	if errno == 0 {
		// Not only by execve, which may take long: copies of the connections of others
		// would keep their ends from them. Before Linux 5.9 it has to do.
		_, _, _ = syscall.RawSyscall(unix.SYS_CLOSE_RANGE, statusFD+1, math.MaxUint32, 0)
		if im.limit.Max != 0 {
			_, _, _ = syscall.RawSyscall6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(&im.limit)), 0, 0, 0)
		}
		call = 1
		_, _, errno = syscall.RawSyscall(unix.SYS_SETPGID, 0, 0, 0) // a signal reaches its children too
	}
	if errno == 0 && im.dir != nil {
		call = 2
		_, _, errno = syscall.RawSyscall(unix.SYS_CHDIR, uintptr(unsafe.Pointer(im.dir)), 0, 0)
	}
	if errno == 0 {
		call = 3
		_, _, errno = syscall.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(im.path)),
			uintptr(unsafe.Pointer(&im.argv[0])), uintptr(unsafe.Pointer(&im.env[0])))
	}
	im.failed[0], im.failed[1] = byte(call), byte(errno) // Linux has 133 of them
	if call > 0 {
		im.status = statusFD
	}
	_, _, _ = syscall.RawSyscall(unix.SYS_WRITE, uintptr(im.status), uintptr(unsafe.Pointer(&im.failed[0])), 2)
	for {
		_, _, _ = syscall.RawSyscall(unix.SYS_EXIT_GROUP, 127, 0, 0) // as a shell that cannot execute a command
	}
}

// failure returns what a new process has said on its status pipe: why it has not become
// the program, or nil.
func failure(status int) error {
	var b [2]byte
	n, err := unix.Read(status, b[:])
	for err == unix.EINTR {
		n, err = unix.Read(status, b[:])
	}
	if n != len(b) || int(b[0]) >= len(imageCalls) {
		return nil
	}
	return os.NewSyscallError(imageCalls[b[0]], syscall.Errno(b[1]))
}
