// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
)

// Refusal connects to an address, which is not a Name, and closes the connection at once.
// It returns why nobody answers within a time, or nil. It blocks, and is for a command; a
// service searches its backend by the loop.
func Refusal(to config.Address, within time.Duration) error {
	sa, family, err := sockaddr(to)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	tv := unix.NsecToTimeval(within.Nanoseconds()) // it bounds connect(2) as well (socket(7))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	switch err = unix.Connect(fd, sa); {
	case err == nil, errors.Is(err, unix.EINTR): // a signal came: nothing is known
		return nil
	case errors.Is(err, unix.EINPROGRESS), errors.Is(err, unix.EAGAIN):
		return fmt.Errorf("connect: no answer in %v", within)
	}
	return os.NewSyscallError("connect", err)
}
