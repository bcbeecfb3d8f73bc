// SPDX-License-Identifier: Apache-2.0

package load

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// A client is one connection that always has Pipeline requests on the way.
//
//	requests  …|request|request|request|…      replies  …|reply|reply|…
//	                ▲ phase, owed bytes to go                 ▲ got
type client struct {
	fd    int
	owed  int             // bytes of requests that must still be sent
	phase int             // where in a request the next byte is
	got   int             // where in a reply the next byte is
	first int             // oldest entry of sent
	sent  []time.Duration // when the requests on the way were due, a ring
	last  time.Duration   // of the last delivery
}

// An exchanger is the state of modes Echo and Ask.
type exchanger struct {
	o        Options
	w        *window
	poll     *poller
	clients  []client
	request  int    // bytes of one request
	reply    int    // bytes of one reply
	requests []byte // the stream from any phase
	replies  []byte
	buf      []byte
}

// bufferSize is more than a reply stream can hold: 16 messages of 4 KiB.
const bufferSize = 128 << 10

func newExchanger(o Options, request, reply []byte) (*exchanger, error) {
	p, err := newPoller(o)
	if err != nil {
		return nil, err
	}
	x := &exchanger{
		o: o, poll: p, request: len(request), reply: len(reply),
		requests: repeat(request, o.Pipeline*len(request)),
		replies:  repeat(reply, bufferSize),
		buf:      make([]byte, bufferSize),
	}
	return x, nil
}

// exchange keeps every connection busy with request and reply.
func exchange(o Options, request, reply []byte) (Result, error) {
	x, err := newExchanger(o, request, reply)
	if err != nil {
		return Result{}, err
	}
	defer x.close()
	if err := x.connect(o.Conns); err != nil {
		return Result{}, err
	}
	if err := x.connectStuck(); err != nil {
		return Result{}, err
	}
	x.w = newWindow(o)
	for i := range x.clients {
		if err := x.start(&x.clients[i]); err != nil {
			return Result{}, err
		}
	}
	if err := x.serve(); err != nil {
		return Result{}, err
	}
	return x.w.result()
}

// connect opens n connections, one after the other: a burst would overflow the
// backlog, and the kernel's retry after a second would be measured instead.
func (x *exchanger) connect(n int) error {
	to, err := newEndpoint(x.o.Network, x.o.Address)
	if err != nil {
		return err
	}
	x.clients = make([]client, 0, n)
	for i := range n {
		fd, err := to.dial(0, 0)
		if err != nil {
			return fmt.Errorf("connection %d of %d: %w", i+1, n, err)
		}
		x.clients = append(x.clients, client{fd: fd, sent: make([]time.Duration, x.o.Pipeline)})
		if x.o.WebSocket {
			if err := upgrade(fd); err != nil {
				return fmt.Errorf("connection %d of %d: %w", i+1, n, err)
			}
		}
		if err := x.poll.add(fd, i); err != nil {
			return err
		}
	}
	return nil
}

// connectStuck opens connections that fill the server's queues: they send
// until there is no more room, and never read.
func (x *exchanger) connectStuck() error {
	to, err := newEndpoint(x.o.Network, x.o.Address)
	if err != nil {
		return err
	}
	for range x.o.Stuck {
		fd, err := to.dial(0, 0)
		if err != nil {
			return err
		}
		for total := 0; total < 64<<20; {
			n, err := send(fd, x.requests[:x.request*x.o.Pipeline])
			if n == 0 || err != nil {
				break // no more room, or the server's own way to end it
			}
			total += n
		}
	}
	return nil
}

func (x *exchanger) start(c *client) error {
	now := x.w.clock()
	for i := range c.sent {
		c.sent[i] = now
	}
	c.last = now
	c.owed = x.o.Pipeline * x.request
	return x.flush(c)
}

// serve runs until the window is over.
func (x *exchanger) serve() error {
	for {
		events, err := x.poll.wait(100)
		if err != nil {
			return err
		}
		for i := range events {
			c := &x.clients[events[i].Fd]
			if events[i].Events&^unix.EPOLLOUT != 0 {
				if err := x.read(c); err != nil {
					return err
				}
			}
			if c.owed > 0 {
				if err := x.flush(c); err != nil {
					return err
				}
			}
		}
		over, err := x.w.done(x.w.clock())
		if err != nil || over {
			return err
		}
	}
}

// flush sends what c owes; the rest goes when there is room again.
func (x *exchanger) flush(c *client) error {
	n, err := send(c.fd, x.requests[c.phase:c.phase+c.owed])
	c.owed -= n
	c.phase = (c.phase + n) % x.request
	return err
}

// read takes what came and owes a request for each reply that is complete.
func (x *exchanger) read(c *client) error {
	for {
		n, err := receive(c.fd, x.buf)
		if n == 0 || err != nil {
			return err
		}
		if !bytes.Equal(x.buf[:n], x.replies[c.got:c.got+n]) {
			return errors.New("a reply differs from what was expected")
		}
		c.got += n
		x.completed(c, c.got/x.reply)
		c.got %= x.reply
		if n < len(x.buf) {
			return nil // drained: a stream socket gives all it has
		}
	}
}

// completed accounts for k replies and the requests that follow them.
func (x *exchanger) completed(c *client, k int) {
	if k == 0 {
		return
	}
	now := x.w.clock()
	for range k {
		x.w.delays.add(now - c.sent[c.first])
		c.sent[c.first] = now
		c.first = (c.first + 1) % len(c.sent)
	}
	x.w.ops += uint64(k)
	c.owed += k * x.request
	if c == &x.clients[0] {
		x.w.silence = max(x.w.silence, now-c.last)
		c.last = now
	}
}

func (x *exchanger) close() {
	for i := range x.clients {
		unix.Close(x.clients[i].fd)
	}
	x.poll.close()
}
