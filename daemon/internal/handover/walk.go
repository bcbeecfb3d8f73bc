// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A walk goes through a queue with MSG_PEEK and SO_PEEK_OFF, which counts bytes: every
// message has one. The offset belongs to the socket and outlives the process that has
// set it, so a walk begins with setting it to 0. A queue that was walked to its end
// looks empty otherwise.
//
// The number of messages has a bound, because a peek does not make room for more.

// errCut says that the process has no number for a descriptor.
var errCut = errors.New("table of descriptors is full")

// controlSize takes the most descriptors that a message can carry. One that is larger
// has the kernel install those that fit and say so (MSG_CTRUNC).
var controlSize = unix.CmsgSpace(253 * 4)

type walker struct {
	Parcel
	control   []byte
	file      int // of the first message, or -1
	malformed bool
}

// walk collects what is in the queue fd. If complete, it returns errCut rather than a
// part of a message. After an error it has closed everything that came.
func walk(fd int, complete bool) (*walker, error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF, 0); err != nil {
		return nil, os.NewSyscallError("setsockopt", err)
	}
	w := &walker{control: make([]byte, controlSize), file: -1}
	w.queue = fd
	for {
		more, err := w.step(complete)
		if err == nil && !more && w.messages == 0 {
			err = ErrEmpty
		}
		if err != nil {
			w.file = shut(w.file)
			w.Discard()
			return nil, err
		}
		if !more {
			return w, nil
		}
	}
}

// step peeks at the next message. It returns false behind the last one, and behind one
// that is malformed, because a message of more bytes would be seen again in part.
func (w *walker) step(complete bool) (more bool, err error) {
	var b [2]byte
	n, cn, flags, _, err := unix.Recvmsg(w.queue, b[:], w.control,
		unix.MSG_PEEK|unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	switch {
	case err == unix.EINTR:
		return true, nil
	case err == unix.EAGAIN, err == nil && n == 0: // the writer lives; it has gone
		return false, nil
	case err != nil:
		return false, os.NewSyscallError("recvmsg", err)
	}
	w.messages++
	fds := rights(w.control[:cn])
	cut := flags&unix.MSG_CTRUNC != 0
	switch {
	case cut && complete:
		err = errCut
	case cut && b[0] == markHead && w.messages == 1:
		err = fmt.Errorf("receive the file of records: %w", unix.EMFILE)
	case n == 1 && w.take(b[0], fds, cut):
		return true, nil
	}
	w.malformed = err == nil
	closeAll(fds) // nobody knows what they are
	return false, err
}

// take adds what came with a message, unless the message does not belong where it is.
func (w *walker) take(mark byte, fds []int, cut bool) bool {
	switch {
	case w.messages == 1:
		if mark != markHead || len(fds) != 1 {
			return false
		}
		w.file = fds[0]
	case w.Complete || mark > batch || len(fds) > int(mark) || len(fds) < int(mark) && !cut:
		return false
	case mark == markEnd:
		w.Complete = true
	default:
		w.FDs = append(w.FDs, fds...)
		w.Missing += int(mark) - len(fds)
	}
	return true
}

// rights returns the descriptors in a control buffer.
func rights(control []byte) (fds []int) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil // the kernel has written it
	}
	for i := range messages {
		if got, err := unix.ParseUnixRights(&messages[i]); err == nil { // else it is of another kind
			fds = append(fds, got...)
		}
	}
	return fds
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
