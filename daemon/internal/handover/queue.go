// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The byte of a message. Every other value is the number of its descriptors.
const (
	markEnd  = 0
	markHead = 255
)

// batch is how many descriptors a message takes. The kernel allows 253
// (SCM_MAX_FD in net/scm.h).
const batch = 250

// reserve is the part of the send buffer that only the end message may use: it takes
// a few messages of less than 1 KiB each. Without it a queue that is full would look
// as if the writer had died.
const reserve = 8 << 10

// A Queue is the old process's side. Its methods are for one goroutine.
type Queue struct {
	reader, writer int // -1 once closed or given away
	soft           uint64
	raised         bool
	room           int // of the send buffer, with the reserve; in bytes of SO_SNDBUF
}

// NewQueue makes an empty queue. It raises the soft RLIMIT_NOFILE to the hard one: a
// process may have as many descriptors on the way as the soft limit says
// (ETOOMANYREFS in unix(7)), and those that it passes to the service manager count
// too. Close gives the old limit back.
func NewQueue() (*Queue, error) {
	soft, raised, err := raiseLimit()
	if err != nil {
		return nil, fmt.Errorf("handover: make queue: %w", err)
	}
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		err = os.NewSyscallError("socketpair", err)
		if raised {
			restoreLimit(soft)
		}
		return nil, fmt.Errorf("handover: make queue: %w", err)
	}
	return &Queue{reader: ends[0], writer: ends[1], soft: soft, raised: raised, room: 1 << 30}, nil
}

// SoftLimit returns what the soft RLIMIT_NOFILE was before NewQueue, for processes
// that are started meanwhile.
func (q *Queue) SoftLimit() uint64 { return q.soft }

// Reader returns the descriptor of the reader's end, which is to be stored. It remains
// the queue's.
func (q *Queue) Reader() int { return q.reader }

// Release closes our copy of the reader's end. Whoever was given another one has the
// queue from now on.
func (q *Queue) Release() { q.reader = shut(q.reader) }

// Held reports whether somebody else holds the reader's end, for a caller that has
// released its own. False: the store has refused it. It may be true for a moment more
// after that: a manager since systemd 254 closes what it refuses by a process of its own.
func (q *Queue) Held() (bool, error) {
	p := []unix.PollFd{{Fd: int32(q.writer)}} // POLLHUP is reported unasked
	for {
		_, err := unix.Poll(p, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("handover: %w", os.NewSyscallError("poll", err))
		}
		return p[0].Revents&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) == 0, nil
	}
}

// Keep gives the reader's end to the caller, open across execve(2). To be called last:
// every process that is started from here on would get it too.
func (q *Queue) Keep() (int, error) {
	if _, err := unix.FcntlInt(uintptr(q.reader), unix.F_SETFD, 0); err != nil {
		return -1, fmt.Errorf("handover: keep queue: %w", os.NewSyscallError("fcntl", err))
	}
	fd := q.reader
	q.reader = -1
	return fd, nil
}

// Close closes the ends that are still ours and gives the old limit back. What was
// filled in stays for as long as somebody else holds the reader's end.
func (q *Queue) Close() {
	q.reader, q.writer = shut(q.reader), shut(q.writer)
	if q.raised {
		restoreLimit(q.soft)
		q.raised = false
	}
}

// shut closes fd if it is one, and returns what stands for none.
func shut(fd int) int {
	if fd >= 0 {
		unix.Close(fd)
	}
	return -1
}

// A Result is what Fill has achieved.
type Result struct {
	Sent     int      // descriptors in the queue
	Unsent   []Unsent // the others, in order
	Complete bool     // the end message is in: false only if the kernel had no memory for it
}

// An Unsent is a descriptor that is not in the queue. Its record is; the reader sees a
// record without a connection.
type Unsent struct {
	Index int // in the argument of Fill
	Err   error
}

// Fill puts records and descriptors into the queue. They stay the caller's. It never
// blocks. A descriptor that the kernel refuses is named in the result and has to be
// ended by the caller; the others are queued.
//
// After an error nothing is handed over: either the queue is as it was, because there
// was no memory for the records or no room for another descriptor on the way, and Fill
// may be called again with less; or the error matches unix.EPIPE, and the reader's end
// is gone with everything. In both cases the connections are open as before.
//
// Zero fields of h are set: Version to Version, Written to Now. Descriptors is always
// set.
func (q *Queue) Fill(h Header, records []byte, fds []int) (Result, error) {
	h.Descriptors = len(fds)
	r, err := q.fill(h, records, fds)
	if err != nil {
		return Result{}, fmt.Errorf("handover: fill queue: %w", err)
	}
	return r, nil
}

func (q *Queue) fill(h Header, records []byte, fds []int) (r Result, err error) {
	full, err := q.makeRoom()
	if err != nil {
		return r, err
	}
	file, err := writeFile(h, records)
	if err != nil {
		return r, err
	}
	err = q.send(markHead, []int{file})
	unix.Close(file)
	if err != nil {
		return r, os.NewSyscallError("sendmsg", err)
	}
	for i := 0; i < len(fds); i += batch {
		if err := q.put(&r, fds, i, min(i+batch, len(fds))); err != nil {
			return r, os.NewSyscallError("sendmsg", err)
		}
	}
	_ = q.setRoom(full) // without it the end message has the room that the others have left
	switch err := q.send(markEnd, nil); {
	case gone(err):
		return r, os.NewSyscallError("sendmsg", err)
	case err == nil:
		r.Complete = true
	}
	return r, nil
}

// makeRoom sets the send buffer to what the kernel allows, less the reserve, and
// returns what setRoom needs to free that.
func (q *Queue) makeRoom() (full int, err error) {
	if err := q.setRoom(q.room); err != nil {
		return 0, err
	}
	got, err := unix.GetsockoptInt(q.writer, unix.SOL_SOCKET, unix.SO_SNDBUF)
	if err != nil {
		return 0, os.NewSyscallError("getsockopt", err)
	}
	full = got / 2 // the kernel doubles what it is given, socket(7)
	return full, q.setRoom(max(full-reserve, full/2))
}

func (q *Queue) setRoom(n int) error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(q.writer, unix.SOL_SOCKET, unix.SO_SNDBUF, n))
}

// put sends fds[from:to]. If the kernel refuses, it sends one half after the other, down
// to the single descriptors that are to blame. Sending all of them singly would be as
// right, but a message takes 0.8 KiB of the send buffer whatever it carries: one closed
// descriptor would fill a good part of it.
func (q *Queue) put(r *Result, fds []int, from, to int) error {
	n := to - from
	err := q.send(byte(n), fds[from:to])
	switch {
	case err == nil:
		r.Sent += n
		return nil
	case gone(err):
		return err
	case n == 1:
		r.Unsent = append(r.Unsent, Unsent{from, os.NewSyscallError("sendmsg", err)})
		return nil
	}
	middle := from + n/2
	if err := q.put(r, fds, from, middle); err != nil {
		return err
	}
	return q.put(r, fds, middle, to)
}

// gone reports whether nobody has the reader's end.
func gone(err error) bool { return err == unix.EPIPE || err == unix.ECONNRESET }

// send returns the errno of sendmsg(2).
func (q *Queue) send(mark byte, fds []int) error {
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	for {
		_, err := unix.SendmsgN(q.writer, []byte{mark}, rights, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			return err
		}
	}
}
