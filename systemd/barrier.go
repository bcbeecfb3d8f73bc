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
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return fmt.Errorf("systemd: barrier: %w", os.NewSyscallError("pipe2", err))
	}
	defer unix.Close(p[0])
	err := n.pass("BARRIER=1", unix.UnixRights(p[1]), deadline)
	// Our copy has to go first, or the pipe would never hang up.
	unix.Close(p[1])
	// Now the pipe has hung up if the message was not sent: that is no answer.
	if isFull(err) {
		return fmt.Errorf("systemd: barrier: %w", os.ErrDeadlineExceeded)
	}
	if err != nil {
		return err
	}
	done, err := datagram.Await(p[0], 0, deadline) // POLLHUP is reported unasked
	if err != nil {
		return fmt.Errorf("systemd: barrier: %w", err)
	}
	if !done {
		return fmt.Errorf("systemd: barrier: %w", os.ErrDeadlineExceeded)
	}
	return nil
}
