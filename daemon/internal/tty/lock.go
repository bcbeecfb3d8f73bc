// SPDX-License-Identifier: Apache-2.0

package tty

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ErrBusy means that another program has locked the device.
var ErrBusy = errors.New("another program has it")

// Lock keeps other programs from fd. The lock of flock(2) holds between programs that
// ask for it, root's among them: ser2net, tio, pyserial. TIOCEXCL, which only a terminal
// line has, holds against all others but root's.
func Lock(fd int) error {
	switch err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err {
	case nil:
	case unix.EWOULDBLOCK:
		return ErrBusy
	default:
		return os.NewSyscallError("flock", err)
	}
	if !Is(fd) {
		return nil
	}
	return os.NewSyscallError("tiocexcl", unix.IoctlSetInt(fd, unix.TIOCEXCL, 0))
}

// Unlock undoes Lock. A close alone does not: what TIOCEXCL has set stays with a line that
// somebody else has open, and the lock of flock(2) with a duplicate in another process. A
// device that is gone has no lock.
func Unlock(fd int) {
	if Is(fd) {
		_ = unix.IoctlSetInt(fd, unix.TIOCNXCL, 0)
	}
	_ = unix.Flock(fd, unix.LOCK_UN)
}

// Drain waits until what was written to fd has left the port, discards after timeout what
// has not, and returns how many bytes that was. The close would wait for it, for half a
// minute if the other end has stopped the flow.
func Drain(fd int, timeout time.Duration) (discarded int) {
	if AwaitSent(fd, timeout) {
		return 0
	}
	discarded = Unsent(fd)
	DiscardOutput(fd)
	return discarded
}
