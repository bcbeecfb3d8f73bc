// SPDX-License-Identifier: Apache-2.0

package faulttest

import "golang.org/x/sys/unix"

// Errors of calls that are in the tables more than once, as their manual pages
// have them, and for sockets those of tcp(7), ip(7) and unix(7).
var (
	epollErrors = []unix.Errno{
		unix.EBADF, unix.EEXIST, unix.EINVAL, unix.ELOOP, unix.ENOENT, unix.ENOMEM, unix.ENOSPC, unix.EPERM,
	}
	pollErrors   = []unix.Errno{unix.EFAULT, unix.EINTR, unix.EINVAL, unix.ENOMEM}
	rlimitErrors = []unix.Errno{unix.EFAULT, unix.EINVAL, unix.EPERM, unix.ESRCH}

	socketErrors = []unix.Errno{
		unix.EACCES, unix.EAFNOSUPPORT, unix.EINVAL, unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.EPROTONOSUPPORT,
	}
	// ECONNREFUSED and EAGAIN are answers, not failures: nobody is there, or
	// somebody who is busy.
	connectErrors = []unix.Errno{
		unix.EACCES, unix.EADDRINUSE, unix.EADDRNOTAVAIL, unix.EAFNOSUPPORT, unix.EALREADY, unix.EBADF, unix.EFAULT,
		unix.EINPROGRESS, unix.EINTR, unix.EISCONN, unix.ENETUNREACH, unix.ENOTSOCK, unix.EPERM, unix.EPROTOTYPE, unix.ETIMEDOUT,
	}
	sendErrors = []unix.Errno{
		unix.EACCES, unix.EALREADY, unix.EBADF, unix.ECONNRESET, unix.EDESTADDRREQ, unix.EFAULT, unix.EINTR,
		unix.EINVAL, unix.EISCONN, unix.EMSGSIZE, unix.ENOBUFS, unix.ENOMEM, unix.ENOTCONN, unix.ENOTSOCK,
		unix.EOPNOTSUPP, unix.EPIPE, unix.ETIMEDOUT, unix.EHOSTUNREACH, unix.ENETUNREACH,
	}
	// EAGAIN of splice(2) promises no edge: what did not go is read or sent. ENOSYS and EPERM
	// are those of a filter.
	spliceErrors = []unix.Errno{
		unix.EAGAIN, unix.EBADF, unix.EINTR, unix.EINVAL, unix.ENOMEM, unix.ESPIPE, unix.ENOBUFS, unix.ENOSYS, unix.EPERM,
	}
	getsockoptErrors = []unix.Errno{unix.EBADF, unix.EFAULT, unix.EINVAL, unix.ENOPROTOOPT, unix.ENOTSOCK}
	setsockoptErrors = []unix.Errno{unix.EBADF, unix.EDOM, unix.EFAULT, unix.EINVAL, unix.ENOMEM, unix.ENOPROTOOPT, unix.ENOTSOCK}
	fcntlErrors      = []unix.Errno{unix.EACCES, unix.EAGAIN, unix.EBADF, unix.EINTR, unix.EINVAL, unix.EPERM}

	// The pipes of a program have those of read(2), readv(2), write(2) and
	// writev(2).
	readErrors = []unix.Errno{
		unix.EBADF, unix.EFAULT, unix.EINTR, unix.EINVAL, unix.EIO, unix.EISDIR, unix.EOPNOTSUPP, unix.EOVERFLOW, unix.ESPIPE,
	}
	writeErrors = []unix.Errno{
		unix.EBADF, unix.EDESTADDRREQ, unix.EDQUOT, unix.EFAULT, unix.EFBIG, unix.EINTR, unix.EINVAL, unix.EIO,
		unix.ENOSPC, unix.EOPNOTSUPP, unix.EPERM, unix.EPIPE,
	}

	// fileErrors are those of path_resolution(7), and of a disk.
	fileErrors = []unix.Errno{
		unix.EACCES, unix.EFAULT, unix.EINVAL, unix.EIO, unix.ELOOP, unix.ENAMETOOLONG, unix.ENOENT, unix.ENOMEM,
		unix.ENOTDIR, unix.EPERM, unix.EROFS,
	}
	openErrors = append([]unix.Errno{
		unix.EAGAIN, unix.EBADF, unix.EBUSY, unix.EDQUOT, unix.EEXIST, unix.EFBIG, unix.EINTR, unix.EISDIR, unix.EMFILE,
		unix.ENFILE, unix.ENODEV, unix.ENOSPC, unix.ENXIO, unix.EOPNOTSUPP, unix.EOVERFLOW, unix.ETXTBSY,
	}, fileErrors...)
	unlinkErrors = append([]unix.Errno{unix.EBADF, unix.EBUSY, unix.EISDIR}, fileErrors...)
)
