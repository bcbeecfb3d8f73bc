// SPDX-License-Identifier: Apache-2.0

package load

import (
	"errors"

	"golang.org/x/sys/unix"
)

// bulk sends through a relay as fast as it takes it, on all connections and in one
// direction. An operation is a MiB that has arrived. What arrives is counted and not
// looked at; the other modes compare each byte that a relay passes on.
func bulk(o Options) (Result, error) {
	x, err := newExchanger(o, pattern(bulkPiece), pattern(1))
	if err != nil {
		return Result{}, err
	}
	defer x.close()
	if err := x.connect(o.Conns); err != nil {
		return Result{}, err
	}
	x.w = newWindow(o)
	for i := range x.clients {
		if err := x.pour(&x.clients[i]); err != nil {
			return Result{}, err
		}
	}
	b := x.poll.behind
	for {
		events, err := x.poll.wait(100)
		if err != nil {
			return Result{}, err
		}
		for i := range events {
			if events[i].Events&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
				return Result{}, errEOF
			}
			if err := x.pour(&x.clients[events[i].Fd]); err != nil {
				return Result{}, err
			}
		}
		whole := b.taken / bulkUnit
		b.taken -= whole * bulkUnit
		x.w.ops += whole
		over, err := x.w.done(x.w.clock())
		if err != nil {
			return Result{}, err
		}
		if over {
			return x.w.result()
		}
	}
}

const (
	bulkPiece = 256 << 10 // offered at once
	bulkUnit  = 1 << 20   // one operation
)

// pour sends until the relay takes no more. It comes to an end, since what the relay passes
// on waits for the next turn.
func (x *exchanger) pour(c *client) error {
	for {
		n, err := send(c.fd, x.requests[c.phase:c.phase+bulkPiece])
		if err != nil {
			return err
		}
		if c.phase = (c.phase + n) % bulkPiece; n < bulkPiece {
			return nil
		}
	}
}

// resets counts how connections end whose backend resets them: Refused holds those that
// ended as if all had been said.
func resets(o Options) (Result, error) {
	p, err := newPoller(o)
	if err != nil {
		return Result{}, err
	}
	defer p.close()
	to, err := newEndpoint(o.Network, o.Address)
	if err != nil {
		return Result{}, err
	}
	w := newWindow(o)
	clean := 0
	for {
		fd, err := to.dial(0, 0)
		if err != nil {
			return Result{}, err
		}
		err = untilEnd(p, fd)
		unix.Close(fd)
		switch {
		case errors.Is(err, errEOF):
			if w.started {
				clean++
			}
		case !errors.Is(err, unix.ECONNRESET):
			return Result{}, err
		}
		w.ops++
		over, err := w.done(w.clock())
		if err != nil {
			return Result{}, err
		}
		if over {
			r, err := w.result()
			r.Refused = clean
			return r, err
		}
	}
}

// untilEnd says a word and returns how the connection ends.
func untilEnd(p *poller, fd int) error {
	if err := p.add(fd, 0); err != nil {
		return err
	}
	if _, err := send(fd, []byte(Question)); err != nil {
		return err
	}
	buf := make([]byte, 256)
	for range 100 {
		events, err := p.wait(100)
		if err != nil {
			return err
		}
		if len(events) == 0 {
			continue
		}
		if n, err := receive(fd, buf); err != nil {
			return err
		} else if n > 0 {
			return errors.New("a backend that says nothing has answered")
		}
	}
	return errors.New("a connection whose backend is reset does not end")
}
