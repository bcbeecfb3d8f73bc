// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"os"

	"golang.org/x/sys/unix"
)

// raiseLimit raises the soft RLIMIT_NOFILE to the hard one and returns what it was.
//
// The Go runtime has done so at its start, to one less than the hard limit, and gives
// the old limit to every process that it starts, unless the program sets the limit
// itself (syscall.Setrlimit). That is worth more than one descriptor: raiseLimit leaves
// such a limit alone.
func raiseLimit() (soft uint64, raised bool, err error) {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 0, false, os.NewSyscallError("getrlimit", err)
	}
	soft = r.Cur
	if r.Max == 0 || soft >= r.Max-1 {
		return soft, false, nil
	}
	r.Cur = r.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return soft, false, os.NewSyscallError("setrlimit", err)
	}
	return soft, true, nil
}

// restoreLimit undoes raiseLimit. To lower a soft limit cannot fail, unless somebody
// has lowered the hard one below it.
func restoreLimit(soft uint64) {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) == nil {
		r.Cur = min(soft, r.Max)
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &r)
	}
}

// Grow makes the process's table of descriptors large enough for n of them, so that
// Peek need not: in a process with threads every doubling waits for an RCU grace
// period, and those waits are most of an adoption. Grow itself waits 8 to 20 ms for
// 8,000. It may be called from any goroutine, beside the reading of the configuration.
// It grows the table to the soft RLIMIT_NOFILE at most.
func Grow(n int) error {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return os.NewSyscallError("getrlimit", err)
	}
	if n = int(min(uint64(max(n, 0)), r.Cur)) - 1; n < 0 {
		return nil
	}
	some, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("eventfd2", err)
	}
	defer unix.Close(some)
	// The kernel takes the first free number from n on: a table of n+1 at least.
	last, err := unix.FcntlInt(uintptr(some), unix.F_DUPFD_CLOEXEC, n)
	if err == unix.EMFILE {
		return nil // n and all above it are in use: the table is as large as it can be
	}
	if err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	unix.Close(last)
	return nil
}

// Cookie returns the number that the kernel has given the socket fd and no other
// (SO_COOKIE in socket(7), Linux 4.12). It is the same in every process.
func Cookie(fd int) (uint64, error) {
	n, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	return n, os.NewSyscallError("getsockopt", err)
}

// End ends the connection fd for its peer, and closes fd. close(2) alone would not end
// it while a queue or another process holds a copy. It must not be given a connection
// that somebody goes on serving from another copy. What waits in the send buffer still
// goes out.
func End(fd int) {
	_ = unix.Shutdown(fd, unix.SHUT_RDWR) // ENOTCONN: the peer has ended it already
	unix.Close(fd)
}

// Reset is End for a connection that is cut: bytes are lost with it. A TCP peer gets RST, so
// that it cannot take the cut for the end, and what waits in the send buffer is dropped. On
// a Unix socket, where there is no such thing, it is a close(2).
//
// It is only for a connection that nobody can serve any more, so not before Commit: what it
// sets (SO_LINGER in socket(7)) is the socket's, and would make the next process's close a
// reset too. If another copy is still open, the last close(2) is the reset.
func Reset(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	unix.Close(fd)
}
