// SPDX-License-Identifier: Apache-2.0

package faulttest

import "golang.org/x/sys/unix"

// A call is a system call of the loop, with the errors that its manual page
// and that of the protocol list. Two kinds of error are left out. EAGAIN of a
// call that would have moved something (recv, send, accept4, read) is one that
// the kernel never returns: it promises an edge later, and strace cannot keep
// that promise. And a call that strace prevents has not been made: where that
// leaves a descriptor open, the client hangs for no fault of the daemon.
type call struct {
	name    string
	says    string // regexp of how the log names it; "": name
	also    string // regexp of what it may say instead; "": nothing
	backend string // the only one that makes it; "": both
	errnos  []unix.Errno
	ends    []unix.Errno // may end the daemon, which says so
	deafens []unix.Errno // may end listeners, which the log says
	leaves  bool         // the call that was not made leaves something behind
	reload  bool         // made by a reload, which is asked for
	spares  string       // a service of which nothing is expected
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
		name: "epoll_ctl", // an ADD behind a DEL that was not made finds the old registration
		also: "epoll_ctl: file exists",
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
			unix.EACCES, unix.EALREADY, unix.EBADF, unix.ECONNRESET, unix.EDESTADDRREQ, unix.EFAULT, unix.EINTR,
			unix.EINVAL, unix.EISCONN, unix.EMSGSIZE, unix.ENOBUFS, unix.ENOMEM, unix.ENOTCONN, unix.ENOTSOCK,
			unix.EOPNOTSUPP, unix.EPIPE, unix.ETIMEDOUT, unix.EHOSTUNREACH, unix.ENETUNREACH,
		},
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
		name: "read", says: "recv", errnos: []unix.Errno{unix.EINTR},
	},
	{
		// Pipes and eventfds return none of these, and Go's library believes
		// them all the same: it then waits for the child that it thinks has
		// failed, until that ends, and the next program never starts.
		name: "read", says: "recv", spares: "handler", leaves: true,
		errnos: []unix.Errno{unix.EBADF, unix.EFAULT, unix.EINVAL, unix.EIO, unix.EISDIR},
	},
	{
		name: "openat", reload: true, spares: "handler", // the program opens files too
		errnos: []unix.Errno{
			unix.EACCES, unix.EINTR, unix.EIO, unix.ELOOP, unix.EMFILE, unix.ENFILE, unix.ENOENT, unix.ENOMEM,
			unix.ENOTDIR, unix.EPERM,
		},
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
