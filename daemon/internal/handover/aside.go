// SPDX-License-Identifier: Apache-2.0

package handover

import "golang.org/x/sys/unix"

// An Aside keeps descriptors for which a process has no numbers to spare, in the order in
// which they were put there. They lie in a socket pair, which takes two numbers for all of
// them. A connection that is not to be served is kept so until Commit: before that, the
// next process may still get it from the queue, so that it must not be ended, and with
// the last close(2) only the kernel decides in which way it ends.
//
// The alternative was to keep them open. But where they are too many, the numbers are
// wanted for something else.
type Aside struct{ in, out int }

// NewAside makes an empty one. It returns nil if there are no two numbers left.
func NewAside() *Aside {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	// As much as the kernel allows, if more than that is asked for (socket(7)). With less
	// room some are refused.
	_ = unix.SetsockoptInt(pair[0], unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<30)
	return &Aside{in: pair[0], out: pair[1]}
}

// Put takes fd, and closes its number. It returns false if fd is still the caller's: there
// is no room (EAGAIN), or too many are on their way, those in queues counted (ETOOMANYREFS,
// unix(7)).
func (a *Aside) Put(fd int) bool {
	for {
		_, err := unix.SendmsgN(a.in, []byte{0}, unix.UnixRights(fd), nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err == nil {
			unix.Close(fd)
		}
		if err != unix.EINTR {
			return err == nil
		}
	}
}

// Take returns the next one, or false if there is none, or no number for it.
func (a *Aside) Take() (fd int, ok bool) {
	control := make([]byte, unix.CmsgSpace(4))
	for {
		var b [1]byte
		_, n, _, _, err := unix.Recvmsg(a.out, b[:], control, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if fds := rights(control[:n]); err == nil && len(fds) == 1 {
			return fds[0], true
		}
		return -1, false
	}
}

// Close closes what was not taken.
func (a *Aside) Close() { a.in, a.out = shut(a.in), shut(a.out) }
