// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// What else Peek may say of a descriptor. It is no queue, or one that nobody has
// filled, or that was emptied: there is nothing to adopt, and it can be closed.
var (
	ErrNotQueue = errors.New("not a queue of descriptors")
	ErrEmpty    = errors.New("empty queue")
)

// A Parcel is what a queue holds. Its methods are for one goroutine.
type Parcel struct {
	Header
	Records  []byte        // as they were given to Fill
	FDs      []int         // in the order of Fill, close-on-exec; the caller's
	Missing  int           // descriptors that are queued and for which this process has no number
	Complete bool          // the writer has finished
	Age      time.Duration // of the queue, when it was peeked

	queue    int // -1 after Commit
	messages int
}

// Peek looks at what is in the queue of which fd is the reader's end, and leaves it
// there. If the table of descriptors is too small, it raises the soft RLIMIT_NOFILE; what
// the hard limit does not hold is counted in Missing and ends with Commit. A caller that
// needs descriptors for other things before Commit may close some of FDs.
//
// An error that matches ErrForeign, ErrDamaged or ErrExpired comes with a Parcel: its
// connections can be ended after a Commit. Its Records are nil unless it has expired. Of
// a damaged queue it holds what precedes the damage; the rest ends with the queue.
// With any other error, ErrNotQueue and ErrEmpty among them, there is no Parcel, fd is
// the caller's, and the queue is whole.
//
// The new process calls it when the old one has ended. It may be called again after
// Discard, and from another process after a crash.
func Peek(fd int) (*Parcel, error) {
	if err := checkQueue(fd); err != nil {
		return nil, fmt.Errorf("handover: descriptor %d: %w", fd, err)
	}
	p, err := peek(fd)
	if err != nil {
		err = fmt.Errorf("handover: queue: %w", err)
	}
	return p, err
}

// checkQueue returns an error that matches ErrNotQueue if fd is anything else than a
// Unix socket of the right type.
func checkQueue(fd int) error {
	for opt, want := range map[int]int{unix.SO_DOMAIN: unix.AF_UNIX, unix.SO_TYPE: unix.SOCK_SEQPACKET} {
		got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, opt)
		if err == unix.ENOTSOCK || err == nil && got != want {
			return ErrNotQueue
		}
		if err != nil {
			return os.NewSyscallError("getsockopt", err)
		}
	}
	return nil
}

func peek(fd int) (*Parcel, error) {
	w, err := walk(fd, true)
	if err == errCut {
		if _, _, err = raiseLimit(); err == nil {
			w, err = walk(fd, false)
		}
	}
	if err != nil {
		return nil, err
	}
	p := &w.Parcel
	if w.file >= 0 {
		p.Header, p.Records, err = readFile(w.file)
		unix.Close(w.file)
	}
	if err != nil && !errors.Is(err, ErrForeign) && !errors.Is(err, ErrDamaged) {
		p.Discard()
		return nil, err // of a system call: it may go well the next time
	}
	if p.Written > 0 {
		p.Age = Now() - p.Written
	}
	if err == nil {
		err = p.check(w.malformed)
	}
	return p, err
}

// check looks at what parts of a queue say of each other.
func (p *Parcel) check(malformed bool) error {
	switch {
	case malformed:
		p.Records = nil
		return fmt.Errorf("%w: a message has a wrong form", ErrDamaged)
	case p.Age < 0:
		p.Records = nil
		return fmt.Errorf("%w: it was written in the future", ErrDamaged)
	case len(p.FDs)+p.Missing > p.Descriptors:
		p.Records = nil
		return fmt.Errorf("%w: it holds more than it says", ErrDamaged)
	case p.Expired():
		return &ExpiredError{p.Age}
	}
	return nil
}

// Expired reports whether the queue has waited for too long. Its Records can be read all
// the same, if the queue is whole.
func (p *Parcel) Expired() bool { return p.Age > MaxAge }

// Commit takes from the queue what was peeked, without its descriptors, and closes the
// queue. From here on the connections are the caller's alone. After an error they are
// too; the error says that somebody else has taken messages from the queue.
func (p *Parcel) Commit() error {
	if p.queue < 0 {
		return nil
	}
	var err error
	for ; p.messages > 0 && err == nil; p.messages-- {
		err = drain(p.queue)
	}
	p.queue = shut(p.queue)
	if err != nil {
		return fmt.Errorf("handover: commit: %w", os.NewSyscallError("recvmsg", err))
	}
	return nil
}

// drain takes a message. Without a control buffer the kernel drops its rights.
func drain(fd int) error {
	var b [1]byte
	for {
		n, _, _, _, err := unix.Recvmsg(fd, b[:], nil, unix.MSG_DONTWAIT)
		if err == nil && n == 0 {
			return unix.EPIPE // the writer has gone, and the queue is empty
		}
		if err != unix.EINTR {
			return err
		}
	}
}

// Discard closes what was peeked. Before Commit the queue stays open and whole. After
// Commit it ends the connections that nobody else holds.
func (p *Parcel) Discard() {
	for _, fd := range p.FDs {
		unix.Close(fd)
	}
	p.FDs = nil
}

// Match returns for each of p.FDs the index of its record in conns, or -1 if there is
// none. A record that is in no place of the result has no connection: the kernel refused
// to queue it, or the writer died before that. Where both are in the same order, as Fill
// leaves them, nothing is searched for; and where all have come, the kernel is not asked
// for every cookie, which would be a system call for each connection while all clients
// wait.
func (p *Parcel) Match(conns []Conn) []int {
	places := make([]int, len(p.FDs))
	if p.inOrder(conns) {
		for i := range places {
			places[i] = i
		}
		return places
	}
	var others map[uint64]int
	next := 0
	for i, fd := range p.FDs {
		places[i] = -1
		cookie, err := Cookie(fd)
		if err != nil {
			continue // it is no socket
		}
		if next < len(conns) && conns[next].Cookie == cookie {
			places[i] = next
			next++
			continue
		}
		if others == nil {
			others = make(map[uint64]int, len(conns))
			for j := range conns {
				others[conns[j].Cookie] = j
			}
		}
		if j, ok := others[cookie]; ok {
			places[i] = j
			next = j + 1
		}
	}
	return places
}

// inOrder reports whether each of p.FDs belongs to the record in the same place: the
// queue is complete and there is a record for each. The kernel keeps the order of
// messages and of what is in them. The first and last of each message are looked at all
// the same, so that an error in here cannot give a client the state of another one.
func (p *Parcel) inOrder(conns []Conn) bool {
	if !p.Complete || p.Missing > 0 || len(p.FDs) != p.Descriptors || len(p.FDs) != len(conns) {
		return false
	}
	for i, fd := range p.FDs {
		if i%batch != 0 && i%batch != batch-1 && i != len(p.FDs)-1 {
			continue
		}
		if cookie, err := Cookie(fd); err != nil || cookie != conns[i].Cookie {
			return false
		}
	}
	return true
}

// Newest returns the place of the queue that was written last, or -1 for none. If two
// are there, the process that wrote the newer one has served from the older one: only
// the newer records hold. The others are to be emptied by Commit and then closed by
// Discard. That ends a connection unless it is in the newer queue as well; End would
// end it in any case.
func Newest(parcels []*Parcel) int {
	newest := -1
	for i, p := range parcels {
		if newest < 0 || p.Written >= parcels[newest].Written {
			newest = i
		}
	}
	return newest
}
