// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A Sink delivers records without ever waiting for the reader. A record that
// does not go out at once waits in a bounded queue, and is tried again with the
// next record and by Flush. When the queue is full the newest record is
// dropped, since the first ones of an incident hold its cause. A notice with
// their number takes the place of dropped records:
//
//	    write                        send ok
//	------------> queue empty? --yes--------> out
//	                   | no, or no room
//	                   v
//	              queue: r1 r2 r3 [3 dropped] r7   --Flush--> out
//
// Waiting for POLLOUT was rejected: on an unconnected datagram socket each
// failed send raises it again, which costs a whole CPU while journald stands
// still. A thread for the log was rejected, too: at the end of the process its
// last records could be lost.
type Sink struct {
	form    form
	waiting func()

	mu sync.Mutex
	// mu guards the following. It is held over system calls, all of which
	// are non-blocking.
	out    transport
	queue  queue
	lost   uint64 // since the last notice
	mute   bool   // the last send can never succeed: the notice waits for another record
	closed bool
}

// A form knows how records look.
type form interface {
	notice(lost uint64) []byte
	late(p []byte, made time.Time) []byte
}

// A transport carries encoded records. The Sink calls it from one goroutine
// at a time.
type transport interface {
	// send takes a record without blocking. It returns how many bytes it took;
	// less than all only from a stream. errors.Is(err, errLater) means that the
	// same record may go later. Any other error means that it never will.
	send(p []byte) (int, error)

	// wait returns true when send is worth another try, false at the deadline
	// or when there is nothing to wait for.
	wait(deadline time.Time) bool

	close() error
}

// errLater marks failures that are temporary.
var errLater = errors.New("no room now")

// Bounds of the queue. A record of the daemon has about 300 bytes.
const (
	maxQueueBytes   = 256 << 10
	maxQueueRecords = 1024
)

// write sends p, which the caller keeps, or lets a copy wait.
func (s *Sink) write(p []byte, made time.Time) {
	if s.deliver(p, made) && s.waiting != nil {
		s.waiting()
	}
}

// deliver reports whether records have begun to wait.
func (s *Sink) deliver(p []byte, made time.Time) (began bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	before := s.pending()
	s.drain()
	if s.pending() > 0 {
		s.enqueue(p, made)
		return before == 0
	}
	n, err := s.try(p)
	switch {
	case n > 0 && n < len(p):
		s.queue.push(slices.Clone(p[n:]), 1) // the rest of a line, whatever the bound
	case errors.Is(err, errLater):
		s.enqueue(p, made)
	case err != nil:
		s.lost++
	}
	return before == 0 && s.pending() > 0
}

// enqueue lets a copy of p wait, or counts it as lost. After a loss it takes no
// record until half of the queue is free. Otherwise, with a reader that takes
// one record at a time, every second record would be a notice.
func (s *Sink) enqueue(p []byte, made time.Time) {
	if s.lost > 0 {
		if s.queue.bytes > maxQueueBytes/2 || s.queue.len() > maxQueueRecords/2 {
			s.lost++
			return
		}
		s.queue.push(s.form.notice(s.lost), s.lost)
		s.lost = 0
	}
	if s.queue.bytes+len(p) > maxQueueBytes || s.queue.len() >= maxQueueRecords {
		s.lost++
		return
	}
	s.queue.push(s.form.late(slices.Clone(p), made), 1)
}

// try sends p and notes whether it can never succeed.
func (s *Sink) try(p []byte) (int, error) {
	n, err := s.out.send(p)
	s.mute = err != nil && !errors.Is(err, errLater)
	return n, err
}

// drain sends what waits until there is no room. A record that can never go is
// counted as lost, and the notice of the loss is tried once. With a pipe that
// has no reader any more every try fails, so a loop here or a timer would never
// end.
func (s *Sink) drain() {
	for s.queue.len() > 0 {
		p := s.queue.front()
		n, err := s.try(p.bytes)
		switch {
		case s.mute:
			s.queue.trim(len(p.bytes))
			s.lost += p.stands
		case err != nil:
			s.queue.trim(n)
			return
		default:
			s.queue.trim(n)
		}
	}
	if s.lost == 0 {
		return
	}
	p := s.form.notice(s.lost)
	if n, err := s.try(p); err == nil {
		s.lost = 0
		if n < len(p) {
			s.queue.push(p[n:], 1)
		}
	}
}

// pending counts the records that wait for room, the notice of a loss included.
func (s *Sink) pending() int {
	if s.lost > 0 && !s.mute {
		return s.queue.len() + 1
	}
	return s.queue.len()
}

// Flush tries to send what waits and returns how many records still do. It
// never blocks and may be called from any goroutine; a daemon calls it from a
// timer while the result is not 0, and after [Options.Waiting].
func (s *Sink) Flush() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.drain()
	}
	return s.pending()
}

// Close waits until everything is delivered, but not longer than timeout, and
// closes the Sink. It returns how many records were not delivered. Records
// logged later are discarded. It blocks, so call it when the program has
// nothing left to serve.
func (s *Sink) Close(timeout time.Duration) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0
	}
	deadline := time.Now().Add(timeout)
	for {
		s.drain()
		if s.pending() == 0 || !s.out.wait(deadline) || time.Now().After(deadline) {
			break
		}
	}
	s.closed = true
	s.out.close()
	return s.queue.len() + int(s.lost)
}

// A queue is a first-in first-out list of records. Its memory is given back
// when it runs empty, which is nearly always.
type queue struct {
	list  []waiting
	head  int
	bytes int
}

// A waiting record is in the queue, as a whole or with its rest.
type waiting struct {
	bytes  []byte
	stands uint64 // records that are lost if it is lost: a notice stands for several
}

func (q *queue) len() int       { return len(q.list) - q.head }
func (q *queue) front() waiting { return q.list[q.head] }

func (q *queue) push(p []byte, stands uint64) {
	q.list = append(q.list, waiting{p, stands})
	q.bytes += len(p)
}

// trim removes n bytes at the front, and the record with its last one.
func (q *queue) trim(n int) {
	front := &q.list[q.head]
	front.bytes = front.bytes[n:]
	q.bytes -= n
	if len(front.bytes) > 0 {
		return
	}
	*front = waiting{}
	q.head++
	switch {
	case q.head == len(q.list):
		q.list, q.head = nil, 0
	case q.head >= maxQueueRecords: // never empty, never idle: do not grow
		q.list, q.head = slices.Clone(q.list[q.head:]), 0
	}
}

// A writer is the transport for an io.Writer.
type writer struct{ w io.Writer }

func (w writer) send(p []byte) (int, error) { return w.w.Write(p) }
func (w writer) wait(time.Time) bool        { return false }
func (w writer) close() error               { return nil }

// later wraps the errors of a send that may succeed another time.
func later(err error) error {
	switch err {
	case unix.EAGAIN, unix.ENOBUFS, unix.ENOMEM, unix.EMFILE, unix.ENFILE,
		// the reader is being restarted
		unix.ECONNREFUSED, unix.ECONNRESET, unix.ENOTCONN, unix.ENOENT:
		return errors.Join(errLater, err)
	}
	return err
}
