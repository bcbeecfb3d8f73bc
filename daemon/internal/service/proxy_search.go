// SPDX-License-Identifier: Apache-2.0

package service

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/process"
	"penstock/evloop"
)

// A search is for a backend that answers, for one client:
//
//	          an address is left             answers
//	begin ─► trying ───────────────► trying ─────────► adopt
//	           ▲   │ none is left
//	     pause │   ▼
//	         resting ── the time of "wait" is over ──► client aborted, ErrNoBackend
//
// An address has connect_timeout to answer. The pause after a round of them doubles from
// 50 ms to a second. One that refuses at once is followed by the next in another turn, and
// each attempt counts as work of its turn: a thousand clients may wait.
//
// Nothing is read from the client meanwhile, so the loop does not see it go. Before each
// attempt the kernel is asked (left), but not in the first round: a client may say a word
// and close its Unix socket before we have accepted it. To read on, and keep what comes,
// was the alternative: it needs 64 KiB for each client that waits.
//
// Each client searches by itself. One search for all would be less work while the backend
// is away. But it may be stuck at an address that does not answer, and then it would hold
// up clients for which another address has room.
type search struct {
	p      *proxy
	pr     *pair
	until  evloop.Time // no new round after it
	next   int         // target to try
	within int         // which of its addresses, if it is a name
	name   *hostName   // whose lookup is under way; nil: none
	round  int
	pause  time.Duration
	dial   *dial // under way; nil: none
	timer  evloop.TimerID
	last   config.Address // that did not answer
	err    error          // and why
}

const (
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second

	// dialCalls are the system calls of an attempt, in the turn in which it begins: poll,
	// socket, connect, a second one on loopback, and epoll_ctl, getsockname or close.
	dialCalls = 5
)

// find begins a search for the client of pr. Most are over at once, and the next client
// has the same search: garbage would stay until the next collection, beside clients that
// are silent.
func (p *proxy) find(pr *pair) {
	s := p.spare
	if s == nil {
		s = new(search)
	}
	p.spare = nil
	*s = search{p: p, pr: pr, until: p.env.Loop.Now().Add(p.keys.Wait), pause: firstPause}
	pr.search = s
	s.try()
}

// try tries the next address of this round.
func (s *search) try() {
	l, targets := s.p.env.Loop, s.p.keys.To
	switch {
	case s.pr.client.Closing():
		return // the service ends
	case s.round > 0 && left(s.pr.client):
		s.pr.search = nil
		s.pr.client.Resume() // the loop finds out how
		return
	case s.next >= len(targets): // or a reload has left fewer
		s.rest()
		return
	}
	to := targets[s.next]
	if to.Network == config.Name {
		var ok bool
		if to, ok = s.address(to); !ok {
			return
		}
	} else {
		s.within = 0 // of a name that a reload has taken out
		s.next++
	}
	s.last = to
	s.p.dials++
	l.Charge(dialCalls)
	fd, d, err := s.startDial(to)
	switch {
	case err != nil:
		s.err = err
		s.again()
	case d == nil:
		s.found(fd)
	default:
		s.dial = d
		s.wait(s.patience())
	}
}

// again goes on after an address that has refused: with the next one in a later turn, or
// with the end of the round.
func (s *search) again() {
	if s.next < len(s.p.keys.To) {
		s.wait(0)
		return
	}
	s.rest()
}

// left reports whether a client is gone for good: it was reset, or it has closed a Unix
// socket. One that has shut its side for sending may wait for an answer.
func left(c *evloop.Conn) bool {
	fds := []unix.PollFd{{Fd: int32(c.FD())}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0 && fds[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
}

// patience returns how long an address has to answer. In later rounds it does not reach
// beyond the time of "wait".
func (s *search) patience() time.Duration {
	d := s.p.keys.ConnectTimeout
	if s.round > 0 {
		d = min(d, max(firstPause, s.until.Sub(s.p.env.Loop.Now())))
	}
	return d
}

// rest ends a round: another follows after a pause, or the search is over.
func (s *search) rest() {
	s.p.unanswered(s.last, s.err)
	left := s.until.Sub(s.p.env.Loop.Now())
	if left <= 0 {
		client := s.pr.client
		s.pr.search = nil
		client.Abort(ErrNoBackend)
		return
	}
	s.next, s.within = 0, 0
	s.round++
	s.wait(min(s.pause, left))
	s.pause = min(2*s.pause, lastPause)
}

// wait sets the timer, which belongs to the client and ends with it.
func (s *search) wait(d time.Duration) {
	l := s.p.env.Loop
	s.timer = l.Schedule(evloop.Timer{Deadline: l.Now().Add(d), Conn: s.pr.client.ID(), Handler: s})
}

// Expired is called when an address has not answered in time, or a pause is over.
func (s *search) Expired(*evloop.Loop, evloop.Timer) {
	s.timer = evloop.TimerID{}
	if s.dial != nil {
		s.dial.cancel()
		s.dial = nil
		s.err = os.NewSyscallError("connect", unix.ETIMEDOUT)
	}
	if n := s.name; n != nil {
		s.leaveName()
		s.err = n.explain(process.ErrLate)
		s.last = s.p.keys.To[min(s.next, len(s.p.keys.To)-1)]
		s.skip()
		return
	}
	s.try()
}

// dialed is called when the last address has answered in some way.
func (s *search) dialed(fd int, err error) {
	s.dial = nil
	s.p.env.Loop.Cancel(s.timer)
	if err != nil {
		s.err = err
		s.again()
		return
	}
	s.found(fd)
}

// found ends the search: fd is connected to the last address.
func (s *search) found(fd int) {
	p, pr, to := s.p, s.pr, s.last
	pr.search = nil
	p.spare, s.pr = s, nil
	p.answered(to)
	if pr.client.Closing() {
		closeFD(fd)
		return
	}
	p.adopt(pr, fd, to)
}

// stop ends the search without a result. s may be nil.
func (s *search) stop() {
	if s == nil {
		return
	}
	s.dial.cancel()
	s.dial = nil
	s.leaveName()
	s.p.env.Loop.Cancel(s.timer)
}
