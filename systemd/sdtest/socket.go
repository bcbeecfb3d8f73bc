// SPDX-License-Identifier: Apache-2.0

package sdtest

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// bind opens a datagram socket at path, which begins with '/' or '@'.
func bind(path string) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("bind %s: %w", path, os.NewSyscallError("bind", err))
	}
	return fd, nil
}

// receive returns one datagram and the descriptors that came with it, which
// the caller closes. When nothing comes in time the error matches
// os.ErrDeadlineExceeded.
func receive(fd int, timeout time.Duration) (p []byte, fds []int, err error) {
	// A zero timeout would mean "for ever" to the kernel.
	tv := unix.NsecToTimeval(max(timeout, time.Microsecond).Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		return nil, nil, os.NewSyscallError("setsockopt", err)
	}
	// The length first: tests receive thousands, a buffer for the largest
	// each time would be most of their work.
	size, _, err := unix.Recvfrom(fd, make([]byte, 1), unix.MSG_PEEK|unix.MSG_TRUNC)
	for err == unix.EINTR {
		size, _, err = unix.Recvfrom(fd, make([]byte, 1), unix.MSG_PEEK|unix.MSG_TRUNC)
	}
	if err == unix.EAGAIN {
		return nil, nil, fmt.Errorf("nothing received in %v: %w", timeout, os.ErrDeadlineExceeded)
	}
	if err != nil {
		return nil, nil, os.NewSyscallError("recvfrom", err)
	}
	p = make([]byte, size)
	oob := make([]byte, unix.CmsgSpace(16*4))
	n, oobn, _, _, err := unix.Recvmsg(fd, p, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, nil, os.NewSyscallError("recvmsg", err)
	}
	fds, err = rights(oob[:oobn])
	return p[:n], fds, err
}

func rights(oob []byte) (fds []int, err error) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for _, m := range msgs {
		got, err := unix.ParseUnixRights(&m)
		if err != nil {
			return fds, err
		}
		fds = append(fds, got...)
	}
	return fds, nil
}

// closeOnce closes fd and forgets its number, which the next open gets: tests that close
// a socket in the middle and again in a Cleanup would close what is another's.
func closeOnce(fd *int) error {
	if *fd < 0 {
		return nil
	}
	n := *fd
	*fd = -1
	return os.NewSyscallError("close", unix.Close(n))
}

// fill sends payload to path again and again until its queue takes no more, and
// returns how often it went in.
func fill(path string, payload []byte) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	for n := 0; ; n++ {
		err := unix.Sendto(fd, payload, 0, &unix.SockaddrUnix{Name: path})
		if err == unix.EAGAIN {
			return n, nil
		}
		if err != nil {
			return n, os.NewSyscallError("sendto", err)
		}
	}
}
