// SPDX-License-Identifier: Apache-2.0

package faulttest

import "golang.org/x/sys/unix"

// A call is a system call of the loop, with the errors that its manual page
// and that of the protocol list. Two kinds of error are left out. EAGAIN of a
// call that would have brought something (recv, accept4, read) is one that the
// kernel never returns: it promises an edge later, and strace cannot keep that
// promise. And a call that strace prevents has not been made: where that
// leaves a descriptor open, the client hangs for no fault of the daemon.
type call struct {
	name    string
	says    string // regexp of how the log names it; "": name
	backend string // the only one that makes it; "": both
	errnos  []unix.Errno
	ends    []unix.Errno // may end the daemon, which says so
	deafens []unix.Errno // may end listeners, which the log says
	leaves  bool         // the call that was not made leaves something behind
}

// An error of the wait itself, other than EINTR, has no remedy: nothing is
// reported any more. The daemon ends with status 1, and the service manager,
// who has kept the sockets, starts the next.
var waitFails = []unix.Errno{unix.EBADF, unix.EFAULT, unix.EINVAL}

// A listener whose descriptor is not what it was can accept nobody ever again.
var listenerGone = []unix.Errno{unix.EBADF, unix.EFAULT, unix.EINVAL, unix.ENOTSOCK}

var calls = []call{
	{
		name: "epoll_pwait", backend: "epoll", ends: waitFails,
		errnos: []unix.Errno{unix.EBADF, unix.EFAULT, unix.EINTR, unix.EINVAL},
	},
	{
		name: "epoll_ctl",
		errnos: []unix.Errno{
			unix.EBADF, unix.EEXIST, unix.EINVAL, unix.ELOOP, unix.ENOENT, unix.ENOMEM, unix.ENOSPC, unix.EPERM,
		},
	},
	{
		name: "accept4", deafens: listenerGone,
		errnos: []unix.Errno{
			unix.EBADF, unix.ECONNABORTED, unix.EFAULT, unix.EINTR, unix.EINVAL, unix.EMFILE, unix.ENFILE,
			unix.ENOBUFS, unix.ENOMEM, unix.ENOTSOCK, unix.EOPNOTSUPP, unix.EPERM, unix.EPROTO,
			unix.ENETDOWN, unix.ENOPROTOOPT, unix.EHOSTDOWN, unix.ENONET, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.ETIMEDOUT,
		},
	},
	{
		name: "recvfrom", says: "recv", backend: "epoll",
		errnos: []unix.Errno{
			unix.EBADF, unix.ECONNREFUSED, unix.EFAULT, unix.EINTR, unix.EINVAL, unix.ENOMEM, unix.ENOTCONN, unix.ENOTSOCK,
			unix.ECONNRESET, unix.ETIMEDOUT, unix.EHOSTUNREACH, unix.ENETUNREACH,
		},
	},
	{
		name: "recvmsg", says: "recv", backend: "epoll",
		errnos: []unix.Errno{
			unix.EBADF, unix.ECONNREFUSED, unix.EFAULT, unix.EINTR, unix.EINVAL, unix.ENOMEM, unix.ENOTCONN, unix.ENOTSOCK,
			unix.ECONNRESET, unix.EMSGSIZE,
		},
	},
	{
		name: "sendto", says: "send", backend: "epoll",
		errnos: []unix.Errno{
			unix.EACCES, unix.EAGAIN, unix.EALREADY, unix.EBADF, unix.ECONNRESET, unix.EDESTADDRREQ, unix.EFAULT, unix.EINTR,
			unix.EINVAL, unix.EISCONN, unix.EMSGSIZE, unix.ENOBUFS, unix.ENOMEM, unix.ENOTCONN, unix.ENOTSOCK,
			unix.EOPNOTSUPP, unix.EPIPE, unix.ETIMEDOUT, unix.EHOSTUNREACH, unix.ENETUNREACH,
		},
	},
	{
		name: "shutdown", says: "shutdown|recv",
		errnos: []unix.Errno{unix.EBADF, unix.EINVAL, unix.ENOTCONN, unix.ENOTSOCK},
		leaves: true, // the FIN is not sent, so the client waits for it
	},
	{
		name: "getsockopt", says: "getsockopt",
		errnos: []unix.Errno{unix.EBADF, unix.EFAULT, unix.EINVAL, unix.ENOPROTOOPT, unix.ENOTSOCK},
	},
	{
		name:   "setsockopt",
		errnos: []unix.Errno{unix.EBADF, unix.EFAULT, unix.EINVAL, unix.ENOPROTOOPT, unix.ENOTSOCK, unix.EDOM, unix.ENOMEM},
	},
	{
		name:   "fcntl",
		errnos: []unix.Errno{unix.EACCES, unix.EAGAIN, unix.EBADF, unix.EINTR, unix.EINVAL, unix.EPERM},
	},
	{
		name: "close", leaves: true,
		errnos: []unix.Errno{unix.EBADF, unix.EINTR, unix.EIO, unix.ENOSPC, unix.EDQUOT},
	},
	{
		name: "read", says: "recv", // from the program
		errnos: []unix.Errno{unix.EBADF, unix.EFAULT, unix.EINTR, unix.EINVAL, unix.EIO, unix.EISDIR},
	},
	{
		name: "io_uring_enter", backend: "io_uring",
		errnos: []unix.Errno{
			unix.EAGAIN, unix.EBADF, unix.EBADFD, unix.EBADR, unix.EBUSY, unix.EEXIST, unix.EFAULT, unix.EINTR, unix.EINVAL,
			unix.ENOMEM, unix.ENXIO, unix.EOPNOTSUPP, unix.ETIME,
		},
		ends: []unix.Errno{
			unix.EBADF, unix.EBADFD, unix.EBADR, unix.EEXIST, unix.EFAULT, unix.EINVAL, unix.ENXIO, unix.EOPNOTSUPP,
		},
	},
}

// rhythms are at which of its calls a thread is hit: strace's when=.
var rhythms = []string{"1", "5", "7+7"}
