// SPDX-License-Identifier: Apache-2.0

package sdtest

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A Manager plays the part of PID 1 that keeps descriptors for a service. It reads and
// answers by itself, since the process under test may wait for the answer. The part
// that counts is what PID 1 does without a word: it drops a descriptor when its store is
// full, and one whose other end is closed, unless FDPOLL=0 came with it.
//
// To play a restart, start the next process with the files of Pass behind those of its
// sockets, and call Exec in it with all names. To play a stop, call Empty.
//
// Any goroutine may use it.
type Manager struct {
	Path string // for NOTIFY_SOCKET

	notify *Notify
	most   int    // FileDescriptorStoreMax=
	wake   [2]int // a pipe; closing its write end ends the goroutine
	ended  chan struct{}

	mu       sync.Mutex // guards the following
	held     []held
	messages []Message
	next     int           // first message that no WaitFor has consumed
	more     chan struct{} // closed and replaced when there is another message
	err      error         // what PID 1 would have ignored
}

type held struct {
	name string
	fd   int
	poll bool
}

// ListenManager opens a notify socket at path, see ListenNotify, with a store for most
// descriptors.
func ListenManager(path string, most int) (*Manager, error) {
	m := &Manager{Path: path, most: most, ended: make(chan struct{}), more: make(chan struct{})}
	if err := unix.Pipe2(m.wake[:], unix.O_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	var err error
	if m.notify, err = ListenNotify(path); err != nil {
		unix.Close(m.wake[0])
		unix.Close(m.wake[1])
		return nil, err
	}
	go m.serve()
	return m, nil
}

// Close ends it and closes what it keeps. The error tells of messages that PID 1 would
// have ignored. Another call closes nothing.
func (m *Manager) Close() error {
	_ = closeOnce(&m.wake[1])
	<-m.ended
	_ = closeOnce(&m.wake[0])
	m.Empty()
	return errors.Join(m.err, m.notify.Close())
}

// Empty closes all that is kept, as a stop of the service does.
func (m *Manager) Empty() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(func(held) bool { return true })
}

// Names returns the names of what is kept, in the order in which it came.
func (m *Manager) Names() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(hungUp)
	var names []string
	for _, h := range m.held {
		names = append(names, h.name)
	}
	return names
}

// Pass returns what a next process gets from the store, as files that the caller
// closes, and their names. The newest comes first, as from systemd 252 and 257. All of
// it is still kept.
func (m *Manager) Pass() (files []*os.File, names []string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(hungUp)
	for _, h := range slices.Backward(m.held) {
		fd, err := unix.FcntlInt(uintptr(h.fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return files, names, os.NewSyscallError("fcntl", err)
		}
		files, names = append(files, os.NewFile(uintptr(fd), h.name)), append(names, h.name)
	}
	return files, names, nil
}

// WaitFor returns the first message that holds the assignment, such as "READY=1", of
// those that no call has looked at yet. What the message asks for has been done, and it
// has no descriptors any more.
func (m *Manager) WaitFor(assignment string, timeout time.Duration) (Message, error) {
	deadline := time.After(timeout)
	for {
		m.mu.Lock()
		for m.next < len(m.messages) {
			msg := m.messages[m.next]
			m.next++
			if msg.is(assignment) {
				m.mu.Unlock()
				return msg, nil
			}
		}
		more, err := m.more, m.err
		m.mu.Unlock()
		if err != nil {
			return Message{}, err
		}
		select {
		case <-more:
		case <-deadline:
			return Message{}, fmt.Errorf("no %s in %v: %w", assignment, timeout, os.ErrDeadlineExceeded)
		}
	}
}

// serve takes messages until Close.
func (m *Manager) serve() {
	defer close(m.ended)
	for {
		fds := []unix.PollFd{{Fd: int32(m.notify.fd), Events: unix.POLLIN}, {Fd: int32(m.wake[0])}}
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			return
		}
		if fds[1].Revents != 0 {
			return
		}
		if fds[0].Revents == 0 {
			continue
		}
		msg, err := m.notify.Recv(0)
		m.mu.Lock()
		if err == nil {
			err = m.obey(msg)
		} else {
			msg.Close()
		}
		m.err = errors.Join(m.err, err)
		msg.FDs = nil // kept or closed
		m.messages = append(m.messages, msg)
		close(m.more)
		m.more = make(chan struct{})
		m.mu.Unlock()
	}
}

// obey does what the message asks of the store, and closes the descriptors that are not
// kept. The error says why PID 1 would ignore it.
func (m *Manager) obey(msg Message) error {
	name, named := msg.Get("FDNAME")
	switch {
	case msg.is("BARRIER=1"):
		msg.Close() // the answer
		if msg.Text != "BARRIER=1" || len(msg.FDs) != 1 {
			return fmt.Errorf("%q with %d descriptors, not alone with one", msg.Text, len(msg.FDs))
		}
	case named && !validName(name):
		msg.Close()
		return fmt.Errorf("name %q", name)
	case msg.is("FDSTOREREMOVE=1"):
		msg.Close()
		if !named {
			return errors.New("FDSTOREREMOVE=1 without a name")
		}
		m.drop(func(h held) bool { return h.name == name })
	case msg.is("FDSTORE=1"):
		if !named {
			name = "stored"
		}
		m.keep(name, !msg.is("FDPOLL=0"), msg)
		if len(msg.FDs) == 0 {
			return errors.New("FDSTORE=1 without a descriptor")
		}
	case len(msg.FDs) > 0:
		msg.Close()
		return fmt.Errorf("%d descriptors with %q", len(msg.FDs), msg.Text)
	}
	return nil
}

// keep adds the descriptors of msg to the store, as far as there is room.
func (m *Manager) keep(name string, poll bool, msg Message) {
	m.drop(hungUp)
	for _, fd := range msg.FDs {
		if len(m.held) >= m.most {
			unix.Close(fd)
			continue
		}
		m.held = append(m.held, held{name, fd, poll})
	}
}

// drop removes and closes what gone says. A closed end of a socket pair may hang up the
// other one, if both are kept; hence the second look.
func (m *Manager) drop(gone func(held) bool) {
	for {
		var left []held
		for _, h := range m.held {
			if gone(h) {
				unix.Close(h.fd)
			} else {
				left = append(left, h)
			}
		}
		if len(left) == len(m.held) {
			return
		}
		m.held = left
	}
}

// hungUp tells whether PID 1 would have dropped h for its state.
func hungUp(h held) bool {
	fds := []unix.PollFd{{Fd: int32(h.fd)}} // POLLHUP and POLLERR are reported unasked
	n, err := unix.Poll(fds, 0)
	return h.poll && err == nil && n > 0
}

// is tells whether m has the assignment.
func (m Message) is(assignment string) bool {
	key, want, _ := strings.Cut(assignment, "=")
	got, ok := m.Get(key)
	return ok && got == want
}

// validName tells whether systemd takes a name of a descriptor (fdname_is_valid).
func validName(name string) bool {
	return len(name) <= 255 && !strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' || r == ':' })
}
