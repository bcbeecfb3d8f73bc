// SPDX-License-Identifier: Apache-2.0

package faulttest

import (
	"testing"

	"golang.org/x/sys/unix"
)

// lives are the lives of a daemon in which calls fail that the loop does not
// make. One back end is enough for each: neither knows of these calls, but for
// those by which the ring is made.
var lives = []struct {
	name    string
	host    func(*testing.T, string) *host
	backend string
	calls   []call
}{
	{"by hand", handHost, "epoll", handCalls},
	{"by a unit", unitHost, "io_uring", unitCalls},
	{"by a manager", managedHost, "epoll", managedCalls},
}

// handCalls are made by the start, the reload and the stop of a daemon that opens
// its sockets itself.
var handCalls = []call{
	{name: "epoll_create1", errnos: []unix.Errno{unix.EINVAL, unix.EMFILE, unix.ENFILE, unix.ENOMEM}},
	{name: "eventfd2", errnos: []unix.Errno{unix.EINVAL, unix.EMFILE, unix.ENFILE, unix.ENODEV, unix.ENOMEM}},
	{name: "epoll_ctl", errnos: epollErrors},
	{name: "getrlimit", errnos: rlimitErrors},
	{name: "prlimit64", errnos: rlimitErrors},
	{name: "socket", errnos: socketErrors},
	{name: "bind", errnos: append([]unix.Errno{
		unix.EADDRINUSE, unix.EADDRNOTAVAIL, unix.EBADF, unix.ENOTSOCK,
	}, fileErrors...)},
	{name: "listen", errnos: []unix.Errno{unix.EADDRINUSE, unix.EBADF, unix.ENOTSOCK, unix.EOPNOTSUPP}},
	{name: "connect", errnos: connectErrors}, // asks whether a file is a left-over
	{name: "setsockopt", errnos: setsockoptErrors},
	{name: "getsockopt", errnos: getsockoptErrors},
	{name: "fcntl", errnos: fcntlErrors},
	{name: "fchmod", errnos: append([]unix.Errno{unix.EBADF}, fileErrors...)},
	{name: "fchmodat", errnos: append([]unix.Errno{unix.EBADF, unix.EOPNOTSUPP}, fileErrors...)},
	{name: "lchown", errnos: fileErrors},
	{name: "mkdirat", also: "bind: no such file", errnos: append([]unix.Errno{unix.EBADF, unix.EDQUOT, unix.EEXIST, unix.EMLINK, unix.ENOSPC}, fileErrors...)},
	// Told that there is no file, the daemon binds, and finds one.
	{name: "newfstatat", also: "address already in use", spares: "handler", errnos: append([]unix.Errno{unix.EBADF, unix.EOVERFLOW}, fileErrors...)},
	{name: "unlinkat", errnos: unlinkErrors},
	{name: "openat", spares: "handler", errnos: openErrors},
	{name: "fstat", spares: "handler", errnos: []unix.Errno{unix.EBADF, unix.EFAULT, unix.ENOMEM, unix.EOVERFLOW}},
	{name: "pipe2", errnos: []unix.Errno{unix.EFAULT, unix.EINVAL, unix.EMFILE, unix.ENFILE, unix.ENOPKG}},
	{name: "clone", errnos: []unix.Errno{
		unix.EACCES, unix.EAGAIN, unix.EBUSY, unix.EEXIST, unix.EINVAL, unix.ENOMEM, unix.ENOSPC, unix.EOPNOTSUPP, unix.EPERM, unix.EUSERS,
	}},
	{name: "execve", rhythms: []string{"2", "3", "4+7"}, errnos: append([]unix.Errno{ // the first is that of the daemon
		unix.E2BIG, unix.EAGAIN, unix.EISDIR, unix.ELIBBAD, unix.EMFILE, unix.ENFILE, unix.ENOEXEC, unix.ETXTBSY,
	}, fileErrors...)},
	{name: "dup3", errnos: []unix.Errno{unix.EBADF, unix.EBUSY, unix.EINTR, unix.EINVAL, unix.EMFILE}},
	{name: "setpgid", errnos: []unix.Errno{unix.EACCES, unix.EINVAL, unix.EPERM, unix.ESRCH}},
	{name: "waitid", errnos: []unix.Errno{unix.EAGAIN, unix.ECHILD, unix.EINTR, unix.EINVAL, unix.ESRCH}},
	{name: "wait4", errnos: []unix.Errno{unix.EAGAIN, unix.ECHILD, unix.EINTR, unix.EINVAL, unix.ESRCH}},
	{name: "kill", errnos: []unix.Errno{unix.EINVAL, unix.EPERM, unix.ESRCH}},
}

// unitCalls are made by a daemon that a unit has started: it is given its
// sockets, keeps what it serves, and here makes a ring.
var unitCalls = []call{
	{name: "io_uring_setup", errnos: []unix.Errno{
		unix.EACCES, unix.EFAULT, unix.EINVAL, unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOSYS, unix.EPERM,
	}},
	{name: "io_uring_register", errnos: []unix.Errno{
		unix.EACCES, unix.EBADF, unix.EBADFD, unix.EBUSY, unix.EEXIST, unix.EFAULT, unix.EINVAL, unix.ENOMEM, unix.ENXIO, unix.EOPNOTSUPP,
	}},
	{name: "mmap", on: "anon_inode:[io_uring]", errnos: []unix.Errno{
		unix.EACCES, unix.EAGAIN, unix.EBADF, unix.EEXIST, unix.EINVAL, unix.ENFILE, unix.ENODEV, unix.ENOMEM, unix.EOVERFLOW, unix.EPERM,
	}},
	{name: "getsockname", errnos: []unix.Errno{unix.EBADF, unix.EFAULT, unix.EINVAL, unix.ENOBUFS, unix.ENOTSOCK}},
	{name: "getsockopt", also: "descriptor closed .*no socket", errnos: getsockoptErrors}, // ENOTSOCK
	{name: "fcntl", errnos: fcntlErrors},
	{name: "openat", spares: "handler", errnos: openErrors},
	{name: "renameat", errnos: append([]unix.Errno{
		unix.EBUSY, unix.EDQUOT, unix.EEXIST, unix.EISDIR, unix.EMLINK, unix.ENOSPC, unix.ENOTEMPTY, unix.EXDEV,
	}, fileErrors...)},
	{name: "unlinkat", errnos: unlinkErrors},
	{name: "fsync", errnos: []unix.Errno{unix.EBADF, unix.EDQUOT, unix.EINTR, unix.EINVAL, unix.EIO, unix.ENOSPC, unix.EROFS}},
}

// managedCalls are made by the start of a daemon that has a journal, a manager to
// notify and drop-ins.
var managedCalls = []call{
	{name: "socket", errnos: socketErrors},
	{name: "connect", errnos: append([]unix.Errno{unix.EAGAIN, unix.ECONNREFUSED, unix.ENOENT}, connectErrors...)},
	{name: "getdents64", errnos: []unix.Errno{unix.EBADF, unix.EFAULT, unix.EINVAL, unix.ENOENT, unix.ENOTDIR}},
}

// What makes the daemon connect to the journal anew, and send a record as a file
// in memory. Every other call succeeds, or nothing would arrive.
const (
	reconnects = "sendmsg:error=ECONNREFUSED:when=1+2"
	tooLong    = "sendmsg:error=EMSGSIZE:when=1+2"
)

// journalCalls speak to journald and to the manager.
var journalCalls = []call{
	{name: "sendmsg", errnos: append([]unix.Errno{unix.EAGAIN, unix.ECONNREFUSED, unix.ENOENT}, sendErrors...)},
	{name: "socket", under: reconnects, errnos: socketErrors},
	{name: "connect", under: reconnects, errnos: connectErrors},
	{name: "memfd_create", under: tooLong, errnos: []unix.Errno{
		unix.EACCES, unix.EFAULT, unix.EINVAL, unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EPERM,
	}},
	{name: "write", under: tooLong, spares: "handler", errnos: writeErrors}, // its pipe is written to as well
	{name: "fcntl", under: tooLong, spares: "handler", errnos: append([]unix.Errno{unix.EBUSY}, fcntlErrors...)},
}

// stderrCalls write lines to a pipe.
var stderrCalls = []call{
	{name: "ppoll", on: logOutput, errnos: pollErrors},
	{name: "write", on: logOutput, errnos: append([]unix.Errno{unix.EAGAIN}, writeErrors...)},
}
