// SPDX-License-Identifier: Apache-2.0

// Package datagram sends to the Unix datagram sockets of the service manager
// and the journal. Only Await waits, and only until its deadline.
package datagram

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Dial opens a connected datagram socket, non-blocking and close-on-exec. It is
// connected so that poll(2) knows whose queue it waits for.
func Dial(addr *unix.SockaddrUnix) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := unix.Connect(fd, addr); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("connect", err)
	}
	return fd, nil
}

// Send sends p as a whole or not at all, without waiting.
func Send(fd int, p, oob []byte) error {
	for {
		_, err := unix.SendmsgN(fd, p, oob, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		if err != unix.EINTR {
			return err
		}
	}
}

// PeerGone reports whether err means that the peer of a connected datagram
// socket has gone, and not that something is wrong with the message.
func PeerGone(err error) bool {
	return err == unix.ECONNREFUSED || err == unix.ENOTCONN || err == unix.ECONNRESET || err == unix.EPIPE
}

// Await waits for events or a hang-up on fd and reports whether they came
// before the deadline.
func Await(fd int, events int16, deadline time.Time) (bool, error) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		left := max(time.Until(deadline), 0)
		// Rounded up: a poll of 0 ms in the last millisecond would spin.
		ms := int((left + time.Millisecond - 1) / time.Millisecond)
		n, err := unix.Poll(fds, ms)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return false, os.NewSyscallError("poll", err)
		}
		if n > 0 || left == 0 {
			return n > 0, nil
		}
	}
}
