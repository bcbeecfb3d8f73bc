// SPDX-License-Identifier: Apache-2.0

package load

import (
	"bytes"
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// A newcomer is the fresh connection of the moment.
type newcomer struct {
	fd      int // -1: none
	number  uint64
	began   time.Duration
	sent    bool
	got     uint64
	longest [2]time.Duration
	failed  int // were refused or cut off in the second window
}

// connectFresh opens a fresh connection.
func (s *restart) connectFresh(now time.Duration) {
	c := &s.fresh
	c.number, c.began, c.sent, c.got = c.number+1, now, false, 0
	fd, err := s.to.dial(0, unix.SOCK_NONBLOCK)
	if err == nil {
		c.fd = fd
		err = s.poll.add(fd, len(s.clients))
	}
	if err != nil {
		s.freshOver(err)
	}
}

// freshEvent goes on with the fresh connection: one message, its echo, and the end.
func (s *restart) freshEvent() error {
	c := &s.fresh
	if c.fd < 0 {
		return nil // it has ended in this turn
	}
	key := uint64(len(s.clients)) + c.number
	message := s.want[:s.o.Size]
	stream(message, key, 0)
	if !c.sent { // there is room for all of it or, before connect(2) is done, for nothing
		n, err := send(c.fd, message)
		if c.sent = n == len(message); err != nil {
			s.freshOver(err)
			return nil
		}
	}
	n, err := receive(c.fd, s.buf)
	if err == nil && !bytes.HasPrefix(message[c.got:], s.buf[:n]) {
		return errors.New("the answer to a fresh connection is another one's")
	}
	if c.got += uint64(n); err != nil || c.got == uint64(len(message)) {
		s.freshOver(err)
	}
	return nil
}

// freshOver closes the fresh connection. err says that it has no answer.
func (s *restart) freshOver(err error) {
	c := &s.fresh
	if c.fd >= 0 {
		unix.Close(c.fd)
		c.fd = -1
	}
	c.longest[s.phase] = max(c.longest[s.phase], s.w.clock()-c.began)
	if err != nil && s.phase == restarting {
		c.failed++
	}
}
