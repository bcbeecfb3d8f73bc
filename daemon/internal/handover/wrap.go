// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A queue tells its descriptors apart by the cookies of sockets. A device has none. So it
// goes along in a socket of its own, as the one message that waits there:
//
//	queue ─► [client] [client] [listener] [socket ─► [device]]
//
// The alternative was to find a device by its place in the queue and its inode. A queue
// from which the kernel has refused one descriptor has other places, and two services may
// have opened the same device.

// Wrap returns a socket in which fd lies, which stays the caller's.
func Wrap(fd int) (socket int, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("handover: wrap: %w", os.NewSyscallError("socketpair", err))
	}
	err = unix.Sendmsg(pair[0], []byte{0}, unix.UnixRights(fd), nil, 0)
	unix.Close(pair[0])
	if err != nil {
		unix.Close(pair[1])
		return -1, fmt.Errorf("handover: wrap: %w", os.NewSyscallError("sendmsg", err))
	}
	return pair[1], nil
}

// Unwrap returns a descriptor of what lies in socket, and leaves it there: a process that
// dies before Commit has taken nothing.
func Unwrap(socket int) (fd int, err error) {
	var b [1]byte
	control := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(socket, b[:], control, unix.MSG_PEEK|unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
	if err != nil {
		return -1, fmt.Errorf("handover: unwrap: %w", os.NewSyscallError("recvmsg", err))
	}
	fds := rights(control[:n])
	if len(fds) != 1 {
		closeAll(fds)
		return -1, fmt.Errorf("handover: unwrap: %w: %d descriptors", ErrDamaged, len(fds))
	}
	return fds[0], nil
}
