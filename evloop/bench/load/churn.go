// SPDX-License-Identifier: Apache-2.0

package load

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// A turn is what a visit says, and what it must then hear.
type turn struct{ say, hear []byte }

// A visit is one short connection: connect, ask, read the answer, close.
type visit struct {
	fd    int
	turn  int
	asked bool // the first turn
	got   int  // of what it must hear in this turn
	since time.Duration
}

// A visitor is the state of mode Churn: Conns visits at a time, each followed
// at once by the next.
type visitor struct {
	w      *window
	turns  []turn // of each visit
	poll   *poller
	to     endpoint
	visits []visit
	from   int // source address of the next visit
	buf    [256]byte
}

// sources is how many addresses of 127.0.0.0/8 the visits come from in turn.
// The side that closes first keeps the pair of ports for a minute (TIME_WAIT),
// and 28,000 ports of one address would last for two seconds.
const sources = 200

func churn(o Options, turns ...turn) (Result, error) {
	p, err := newPoller(o)
	if err != nil {
		return Result{}, err
	}
	defer p.close()
	to, err := newEndpoint(o.Network, o.Address)
	if err != nil {
		return Result{}, err
	}
	v := &visitor{w: newWindow(o), turns: turns, poll: p, to: to, visits: make([]visit, o.Conns)}
	for i := range v.visits {
		if err := v.begin(i); err != nil {
			return Result{}, err
		}
	}
	if err := v.serve(); err != nil {
		return Result{}, err
	}
	r, err := v.w.result()
	for i := range v.visits {
		unix.Close(v.visits[i].fd)
	}
	return r, err
}

// begin starts visit i anew.
func (v *visitor) begin(i int) error {
	v.from = v.from%sources + 1
	now := v.w.clock()
	// A full backlog of a Unix socket fails at once with EAGAIN, where TCP
	// would queue; so connect may block there, as a usual client's does.
	flags := unix.SOCK_NONBLOCK
	if v.to.family == unix.AF_UNIX {
		flags = 0
	}
	fd, err := v.to.dial(v.from+1, flags)
	if err != nil {
		return fmt.Errorf("visit: %w", err)
	}
	v.visits[i] = visit{fd: fd, since: now}
	return v.poll.add(fd, i)
}

func (v *visitor) serve() error {
	for {
		events, err := v.poll.wait(100)
		if err != nil {
			return err
		}
		for i := range events {
			if err := v.step(int(events[i].Fd), events[i].Events); err != nil {
				return err
			}
		}
		over, err := v.w.done(v.w.clock())
		if err != nil || over {
			return err
		}
	}
}

// step takes a visit as far as the events allow.
func (v *visitor) step(i int, events uint32) error {
	t := &v.visits[i]
	if !t.asked && events&unix.EPOLLOUT != 0 {
		if err := v.ask(t); err != nil {
			return err
		}
	}
	if events&^unix.EPOLLOUT == 0 {
		return nil
	}
	n, err := receive(t.fd, v.buf[:])
	if err != nil {
		return err
	}
	hear := v.turns[t.turn].hear
	if !bytes.HasPrefix(hear[t.got:], v.buf[:n]) {
		return errors.New("an answer differs from what was expected")
	}
	t.got += n
	if t.got < len(hear) {
		return nil
	}
	if t.turn++; t.turn < len(v.turns) {
		t.got = 0
		return v.ask(t)
	}
	unix.Close(t.fd)
	now := v.w.clock()
	v.w.delays.add(now - t.since)
	v.w.ops++
	return v.begin(i)
}

// ask says what the turn of t begins with.
func (v *visitor) ask(t *visit) error {
	say := v.turns[t.turn].say
	n, err := send(t.fd, say)
	if err != nil {
		return err
	}
	if n != len(say) {
		return errors.New("no room for a question on a new connection")
	}
	t.asked = true
	return nil
}
