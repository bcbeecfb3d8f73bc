// SPDX-License-Identifier: Apache-2.0

package load

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Mode Restart: the server restarts in the middle, and its clients stay.
//
//	all are served ──► warm-up ──► calm window ──► Due is written, ──► every client
//	                                               second window      ends its stream
//
// All clients together send rate messages a second, which is no more than a part of
// what the server can do. A closed loop as in the other modes would keep it saturated,
// and the queue of 8,000 messages in front of it would be measured and not the restart.
//
// No two pieces of a client's stream are alike: a byte that is lost, doubled or out of
// order shows, and at the end nothing may be missing and nothing come in addition. The
// messages of mode Echo would not do, because they repeat: a doubled one would pass.
//
// Beside the clients, one fresh connection after the other asks the server. That is all
// that can be compared with servers which restart by leaving the old process to its
// clients.

// patience bounds the wait for the last bytes. Only a test changes it.
var patience = 10 * time.Second

// rate is how many messages a second all clients together send.
const rate = 10_000

// freshEvery is how long after the one before a fresh connection begins at least.
const freshEvery = 2 * time.Millisecond

// A phase is a window of mode Restart.
type phase int

const (
	calm phase = iota // and the warm-up
	restarting
)

// A stayer is a client that must not notice the restart.
type stayer struct {
	fd    int
	begun uint64 // bytes of all messages so far, those on the way included
	sent  uint64
	got   uint64
	ended bool             // the server has closed after the last byte
	due   time.Duration    // when the last message was to be sent
	gap   [2]time.Duration // the longest time to its echo in each phase
}

// A restart is the state of mode Restart.
type restart struct {
	o       Options
	w       *window
	poll    *poller
	to      endpoint
	clients []stayer
	fresh   newcomer
	phase   phase
	ending  bool          // no further messages
	joined  int           // clients that have had an answer
	open    int           // clients that have not ended
	idle    []int         // clients without a message on the way; the first one's turn is next
	next    time.Duration // when it comes
	buf     []byte
	want    []byte
}

func restarts(o Options) (Result, error) {
	p, err := newPoller(o)
	if err != nil {
		return Result{}, err
	}
	s := &restart{o: o, poll: p, fresh: newcomer{fd: -1}, buf: make([]byte, bufferSize), want: make([]byte, bufferSize)}
	defer s.close()
	if err := s.connect(); err != nil {
		return Result{}, err
	}
	s.w = newWindow(o)
	if err := s.serve(func(time.Duration) (bool, error) { return s.joined == len(s.clients), nil }, nil); err != nil {
		return Result{}, err
	}
	s.w.from += s.w.clock()
	if err := s.serve(s.w.done, s.forget); err != nil {
		return Result{}, err
	}
	r, err := s.w.result()
	if err != nil {
		return r, err
	}
	if err := s.restart(); err != nil {
		return r, err
	}
	r.Calm, r.Restart, r.Refused = s.pauses(calm), s.pauses(restarting), s.fresh.failed
	return r, nil
}

// connect opens the connections one after the other, like exchanger.connect.
func (s *restart) connect() (err error) {
	if s.to, err = newEndpoint(s.o.Network, s.o.Address); err != nil {
		return err
	}
	for i := range s.o.Conns {
		fd, err := s.to.dial(0, 0)
		if err != nil {
			return fmt.Errorf("connection %d of %d: %w", i+1, s.o.Conns, err)
		}
		s.clients, s.idle = append(s.clients, stayer{fd: fd}), append(s.idle, i)
		if err := s.poll.add(fd, i); err != nil {
			return err
		}
	}
	s.open = s.o.Conns
	return nil
}

// restart has the server restart, and looks for lost bytes afterwards.
func (s *restart) restart() error {
	s.phase = restarting
	if s.o.Due != 0 {
		if _, err := unix.Write(s.o.Due, []byte{1}); err != nil {
			return os.NewSyscallError("write", err)
		}
	}
	until := s.w.clock() + s.o.Window
	if err := s.serve(func(now time.Duration) (bool, error) { return now >= until, nil }, nil); err != nil {
		return err
	}
	s.ending = true
	for i := range s.clients {
		if c := &s.clients[i]; c.got == c.begun { // the others follow when their reply is there
			if err := s.end(c); err != nil {
				return err
			}
		}
	}
	return s.serve(s.finished(s.w.clock()+patience), nil)
}

// finished returns what reports whether all clients and the last newcomer have ended.
func (s *restart) finished(until time.Duration) func(time.Duration) (bool, error) {
	return func(now time.Duration) (bool, error) {
		if s.open == 0 && s.fresh.fd < 0 {
			return true, nil
		}
		if now < until {
			return false, nil
		}
		for i, c := range s.clients {
			if !c.ended {
				return true, fmt.Errorf("client %d has %d of its %d bytes and no end of the stream after %v", i, c.got, c.begun, patience)
			}
		}
		return true, errors.New("a fresh connection has no answer")
	}
}

// forget drops the gaps of the warm-up, when the first window opens.
func (s *restart) forget() {
	for i := range s.clients {
		s.clients[i].gap[calm] = 0
	}
	s.fresh.longest[calm] = 0
}

// serve runs until over says so. It calls opened once the window of s.w has opened.
func (s *restart) serve(over func(time.Duration) (bool, error), opened func()) error {
	for {
		events, err := s.poll.wait(1)
		if err != nil {
			return err
		}
		for i := range events {
			if id := int(events[i].Fd); id < len(s.clients) {
				err = s.event(id)
			} else {
				err = s.freshEvent()
			}
			if err != nil {
				return err
			}
		}
		now := s.w.clock()
		if s.fresh.fd < 0 && s.joined == len(s.clients) && !s.ending && now >= s.fresh.began+freshEvery {
			s.connectFresh(now)
		}
		if err := s.send(now); err != nil {
			return err
		}
		done, err := over(now)
		if err != nil || done {
			return err
		}
		if opened != nil && s.w.started {
			opened()
			opened = nil
		}
	}
}

// send has clients send their next message, as many as the rate allows.
func (s *restart) send(now time.Duration) error {
	for ; len(s.idle) > 0 && s.next <= now && !s.ending; s.next += time.Second / rate {
		i := s.idle[0]
		s.idle = s.idle[1:]
		c := &s.clients[i]
		c.due, c.begun = s.next, c.begun+uint64(s.o.Size)
		if err := s.flush(i); err != nil {
			return err
		}
	}
	if len(s.idle) == 0 {
		s.next = max(s.next, now) // all wait for the server; they do not catch up
	}
	return nil
}

func (s *restart) flush(i int) error {
	c := &s.clients[i]
	p := s.want[:c.begun-c.sent]
	stream(p, uint64(i), c.sent)
	n, err := send(c.fd, p)
	c.sent += uint64(n)
	return err
}

// event reads what has come to a client, and sends what it owes.
func (s *restart) event(i int) error {
	c := &s.clients[i]
	for !c.ended {
		n, err := receive(c.fd, s.buf)
		switch {
		case errors.Is(err, errEOF) && s.ending && c.got == c.begun:
			c.ended = true
			s.open--
			return nil
		case err != nil:
			return fmt.Errorf("client %d, after %d of %d bytes: %w", i, c.got, c.begun, err)
		case n == 0:
			if c.sent < c.begun {
				return s.flush(i)
			}
			return nil
		}
		if err := s.take(i, s.buf[:n]); err != nil {
			return err
		}
	}
	return nil
}

// take compares what has come with what was sent, and waits for its next turn when a reply is complete.
func (s *restart) take(i int, p []byte) error {
	c := &s.clients[i]
	if c.got+uint64(len(p)) > c.sent {
		return fmt.Errorf("client %d: more bytes come back than the %d that were sent", i, c.sent)
	}
	want := s.want[:len(p)]
	stream(want, uint64(i), c.got)
	if !bytes.Equal(p, want) {
		return fmt.Errorf("client %d: what comes back behind byte %d is not what was sent", i, c.got)
	}
	c.got += uint64(len(p))
	if c.got < c.begun {
		return nil
	}
	wait := s.w.clock() - c.due
	c.gap[s.phase] = max(c.gap[s.phase], wait)
	if c.got == uint64(s.o.Size) {
		s.joined++
	}
	s.w.ops++
	s.w.delays.add(wait)
	if s.ending {
		return s.end(c)
	}
	s.idle = append(s.idle, i)
	return nil
}

// end tells the server that the client has said all. What comes then is too much.
func (s *restart) end(c *stayer) error {
	return os.NewSyscallError("shutdown", unix.Shutdown(c.fd, unix.SHUT_WR))
}

// stream fills p with the bytes of a client's stream from the position at on. Eight
// bytes are one number of the sequence of SplitMix64.
func stream(p []byte, client, at uint64) {
	var word [8]byte
	for len(p) > 0 {
		z := (client<<32 + at/8 + 1) * 0x9e3779b97f4a7c15
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		binary.LittleEndian.PutUint64(word[:], z^z>>31)
		n := copy(p, word[at%8:])
		p, at = p[n:], at+uint64(n)
	}
}

// pauses sums up a phase.
func (s *restart) pauses(p phase) Pauses {
	gaps := make([]time.Duration, 0, len(s.clients))
	for _, c := range s.clients {
		gaps = append(gaps, c.gap[p])
	}
	slices.Sort(gaps)
	n := len(gaps)
	return Pauses{Longest: gaps[n-1], P99: gaps[(n-1)*99/100], Fresh: s.fresh.longest[p]}
}

func (s *restart) close() {
	for _, c := range s.clients {
		unix.Close(c.fd)
	}
	if s.fresh.fd >= 0 {
		unix.Close(s.fresh.fd)
	}
	s.poll.close()
}
