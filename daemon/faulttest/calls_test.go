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
	also    string // regexp of what it may say instead, since an error is an answer too; "": nothing
	on      string // the only kind of descriptor on which it is to fail; "": any
	under   string // another injection, by which the call is made in the first place
	backend string // the only one that makes it; "": both
	errnos  []unix.Errno
	ends    []unix.Errno // may end the daemon, which says so
	deafens []unix.Errno // may end listeners, which the log says
	leaves  bool         // the call that was not made leaves something behind
	signal  unix.Signal  // by which the call is asked for; 0: none is needed
	spares  string       // a service of which nothing is expected
	relays  bool         // a proxy passes much on meanwhile
	rhythms []string     // nil: rhythms
}

// Where a call is to fail, beside the names that the kernel has: pipes of the handler's
// program, and that of the log.
const (
	programInput  = "stdin"
	programOutput = "stdout"
	logOutput     = "stderr"
)

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
		name: "epoll_ctl", errnos: epollErrors,
		also: "epoll_ctl: file exists", // an ADD behind a DEL that was not made finds the old registration
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
		name: "sendto", says: "send", backend: "epoll", errnos: sendErrors,
	},
	{
		name: "sendmsg", says: "send", backend: "epoll", errnos: sendErrors,
	},
	{
		name:   "shutdown",
		errnos: []unix.Errno{unix.EBADF, unix.EINVAL, unix.ENOTCONN, unix.ENOTSOCK},
	},
	{
		name: "ppoll", errnos: pollErrors,
	},
	{
		name: "ioctl", signal: unix.SIGUSR1, // SIOCOUTQ, and those of netdevice(7)
		errnos: []unix.Errno{unix.EBADF, unix.EFAULT, unix.EINVAL, unix.ENOTTY, unix.EADDRNOTAVAIL, unix.ENODEV},
	},
	{
		name: "read", on: programOutput, says: "recv", spares: "handler", errnos: readErrors,
	},
	{
		name: "write", on: programInput, says: "send|write", spares: "handler", errnos: writeErrors,
	},
	{
		name: "write", on: "anon_inode:[eventfd]", signal: unix.SIGUSR1, // wakes the loop
		errnos: writeErrors,
	},
	{
		name: "getsockopt", errnos: getsockoptErrors,
	},
	{
		name: "setsockopt", errnos: setsockoptErrors,
	},
	{
		name: "fcntl", errnos: fcntlErrors,
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
		name: "splice", relays: true, rhythms: relayRhythms, errnos: spliceErrors, // the bytes are copied instead
	},
	{
		name: "splice", relays: true, rhythms: relayRhythms, says: "recv|send", also: "service=relay .*reason=backend_reset",
		errnos: []unix.Errno{unix.ECONNRESET, unix.EPIPE, unix.ETIMEDOUT, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.ECONNABORTED},
	},
	{
		name: "pipe2", relays: true, rhythms: []string{"1"}, // copied
		errnos: []unix.Errno{unix.EFAULT, unix.EINVAL, unix.EMFILE, unix.ENFILE, unix.ENOMEM},
	},
	{
		name: "read", says: "read", relays: true, under: takesNothing, errnos: []unix.Errno{unix.EINTR},
	},
	{
		name: "read", says: "read|recv", relays: true, under: takesNothing, spares: "handler", leaves: true,
		errnos: []unix.Errno{unix.EBADF, unix.EFAULT, unix.EINVAL, unix.EIO, unix.EISDIR},
	},
	{
		name: "openat", signal: unix.SIGHUP, spares: "handler", errnos: openErrors, // the program opens files too
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

// relayRhythms hit the first splice into the pipe, and the first out of it.
var relayRhythms = []string{"1", "2", "7+7"}

// takesNothing has every receiver of a splice take nothing, so that all is read back.
const takesNothing = "splice:error=EAGAIN:when=2+2"
