// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"penstock/systemd/internal/datagram"
)

// Barrier waits until the service manager has read everything sent before, at
// most for timeout. Use it before an exit that must not outrun STOPPING=1.
// When time is up the error matches os.ErrDeadlineExceeded. A message that
// cannot be sent is an error too, never an answer. A service manager that ends
// without having read the message looks like one that has read it.
//
// The protocol is a pipe: its write end travels alone with BARRIER=1, and the
// service manager closes that end when it reads the message, which we see as a
// hang-up. PID 1 would ignore BARRIER=1 in one datagram with anything else.
//
// Source: sd_notify_barrier(3), v246.
func (n *Notifier) Barrier(timeout time.Duration) error {
	if n == nil {
		return nil
	}
	deadline := time.Now().Add(timeout)
	fd, err := n.beginBarrier(deadline)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	done, err := datagram.Await(fd, 0, deadline) // POLLHUP is reported unasked
	if err != nil {
		return fmt.Errorf("systemd: barrier: %w", err)
	}
	if !done {
		return fmt.Errorf("systemd: barrier: %w", os.ErrDeadlineExceeded)
	}
	return nil
}

// BeginBarrier is Barrier for a caller that must not wait. It returns the descriptor of a
// pipe, which hangs up (EPOLLHUP, without being asked for) when the service manager has
// read everything sent before. The caller closes it. It waits up to a second for room for
// the message. A nil Notifier returns -1: there is nothing to wait for.
func (n *Notifier) BeginBarrier() (fd int, err error) {
	if n == nil {
		return -1, nil
	}
	return n.beginBarrier(soon())
}

func (n *Notifier) beginBarrier(deadline time.Time) (fd int, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return -1, fmt.Errorf("systemd: barrier: %w", os.NewSyscallError("pipe2", err))
	}
	err = n.pass("BARRIER=1", unix.UnixRights(p[1]), deadline)
	// Our copy has to go first, or the pipe would never hang up.
	unix.Close(p[1])
	if err == nil {
		return p[0], nil
	}
	unix.Close(p[0]) // it has hung up, as the message was not sent: that is no answer
	if isFull(err) {
		err = fmt.Errorf("systemd: barrier: %w", os.ErrDeadlineExceeded)
	}
	return -1, err
}
