// SPDX-License-Identifier: Apache-2.0

package sdtest

import (
	"bytes"
	"errors"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A Notify is the socket that NOTIFY_SOCKET names. One goroutine may use it.
type Notify struct {
	Path string // for the environment of the process under test
	fd   int
}

// A Message is one datagram of sd_notify(3).
type Message struct {
	Text string
	FDs  []int // owned by the caller
}

// ListenNotify opens a notify socket at path, which begins with '/' or, for
// the abstract name space, with '@'.
func ListenNotify(path string) (*Notify, error) {
	fd, err := bind(path)
	if err != nil {
		return nil, err
	}
	return &Notify{Path: path, fd: fd}, nil
}

// Recv returns the next message. It fails on what PID 1 would throw away: more
// than 4096 bytes, a zero byte inside, nothing at all.
func (n *Notify) Recv(timeout time.Duration) (Message, error) {
	p, fds, err := receive(n.fd, timeout)
	if err != nil {
		return Message{}, err
	}
	m := Message{Text: string(p), FDs: fds}
	switch {
	case len(p) == 0:
		err = errors.New("empty message")
	case len(p) > 4096:
		err = errors.New("message of more than 4096 bytes")
	case bytes.IndexByte(p, 0) >= 0:
		err = errors.New("zero byte in message")
	}
	return m, err
}

// WaitFor receives until a message holds the assignment, such as "READY=1",
// closes the descriptors that come with it, and returns that message.
func (n *Notify) WaitFor(assignment string, timeout time.Duration) (Message, error) {
	deadline := time.Now().Add(timeout)
	for {
		m, err := n.Recv(time.Until(deadline))
		if err != nil {
			return m, err
		}
		m.Close()
		key, want, _ := strings.Cut(assignment, "=")
		if got, ok := m.Get(key); ok && got == want {
			return m, nil
		}
	}
}

// Fill stuffs the queue with messages "X_FILL=1", so that the next sender
// finds no room, and returns how many went in.
func (n *Notify) Fill() (int, error) { return fill(n.Path, []byte("X_FILL=1")) }

// Close closes the socket. Another call does nothing.
func (n *Notify) Close() error { return closeOnce(&n.fd) }

// Get returns the value of one assignment.
func (m Message) Get(key string) (string, bool) {
	for line := range strings.SplitSeq(m.Text, "\n") {
		if k, v, ok := strings.Cut(line, "="); ok && k == key {
			return v, true
		}
	}
	return "", false
}

// Close closes the descriptors, which is how PID 1 answers BARRIER=1.
func (m Message) Close() {
	for _, fd := range m.FDs {
		unix.Close(fd)
	}
}
