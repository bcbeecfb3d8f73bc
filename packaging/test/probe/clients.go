// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A crowd is clients that talk all the time. One whose connection ends connects anew,
// which must work, because the ports are never closed. One that gets a wrong byte, or
// nothing at all, is broken, and says no more.
//
//	connect ─► begin: half a question ─► rest ─► finish: the other half, and every answer
//	   ▲                  ▲               │ ended          │ ended        │ wrong, or none
//	   └──────────────────┴───────────────┴────────────────┘              └─► broken
//
// Each line on standard input asks for a line of figures, which comes when every client
// that is not broken has asked and was answered once more. The alternative, figures at
// the end only, would not tell which restart has closed whom.
type crowd struct {
	clients  []*client
	interval time.Duration
	round    atomic.Int64

	mu      sync.Mutex
	figures figures // since the last line
	broken  int
}

type figures struct {
	answers, closed int
	pause           time.Duration // the longest wait for an answer of the service itself
}

// A client is one of a crowd.
type client struct {
	number        int
	byOthers      bool
	talk          func(number, life int) talk
	network, addr string
	answered      atomic.Int64 // the round in which it has last begun to ask, and was answered
}

// patience is how long a client waits for an answer, also on an emulated board.
const patience = 90 * time.Second

// shortest is the time between two questions of a client where the rate allows it.
const shortest = 200 * time.Millisecond

// newCrowd takes KIND:NUMBER:ADDRESS for each kind of client. Together they ask about
// rate questions in a second.
func newCrowd(rate int, specs []string) (*crowd, error) {
	c, talks := &crowd{}, talks()
	for _, spec := range specs {
		f := strings.SplitN(spec, ":", 3)
		if len(f) != 3 || talks[f[0]] == nil {
			return nil, fmt.Errorf("%q is not KIND:NUMBER:ADDRESS", spec)
		}
		n, err := strconv.Atoi(f[1])
		if err != nil {
			return nil, err
		}
		network := "tcp"
		if strings.HasPrefix(f[2], "/") {
			network = "unix"
		}
		for range n {
			c.clients = append(c.clients, &client{
				number: len(c.clients), byOthers: byOthers[f[0]], talk: talks[f[0]], network: network, addr: f[2],
			})
		}
	}
	c.interval = max(shortest, time.Duration(len(c.clients))*time.Second/time.Duration(rate))
	return c, nil
}

// serve begins, and answers each line with one of figures until there are no more.
func (c *crowd) serve(in io.Reader, out io.Writer) error {
	c.round.Store(1)
	for i, cl := range c.clients {
		go c.live(cl, c.interval*time.Duration(i)/time.Duration(len(c.clients)))
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		round := c.round.Add(1)
		for !c.settled(round) {
			time.Sleep(5 * time.Millisecond)
		}
		c.mu.Lock()
		f := c.figures
		c.figures = figures{}
		_, err := fmt.Fprintf(out, "clients=%d broken=%d closed=%d answers=%d pause_ms=%d\n",
			len(c.clients), c.broken, f.closed, f.answers, f.pause.Milliseconds())
		c.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return lines.Err()
}

// settled reports whether every client is broken or was answered in the round.
func (c *crowd) settled(round int64) bool {
	for _, cl := range c.clients {
		if cl.answered.Load() < round {
			return false
		}
	}
	return true
}

// live is the life of a client. A first is where in the interval its questions fall: some
// clients wait for an answer in the middle of every pause.
func (c *crowd) live(cl *client, first time.Duration) {
	time.Sleep(first)
	var err error
	for life := 0; err == nil; life++ {
		err = c.connection(cl, cl.talk(cl.number, life))
		if ended(err) {
			c.mu.Lock()
			c.figures.closed++
			c.mu.Unlock()
			err = nil
		}
	}
	c.mu.Lock()
	if c.broken++; c.broken <= 5 {
		fmt.Fprintf(os.Stderr, "client %d of %s: %v\n", cl.number, cl.addr, err)
	}
	c.mu.Unlock()
	cl.answered.Store(1 << 62)
}

// errConnect marks a connection that was refused: it has not ended, it never was.
var errConnect = errors.New("connect")

// ended reports whether the connection was closed, and nothing else was wrong.
func ended(err error) bool {
	return !errors.Is(err, errConnect) && (errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE))
}

// connection talks until something fails.
func (c *crowd) connection(cl *client, t talk) error {
	conn, err := net.DialTimeout(cl.network, cl.addr, patience)
	if err != nil {
		return fmt.Errorf("%w: %w", errConnect, err)
	}
	defer conn.Close()
	if t, ok := t.(interface{ end() }); ok {
		defer t.end()
	}
	for {
		round := c.round.Load()
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		if err := t.begin(conn); err != nil {
			return err
		}
		time.Sleep(c.interval / 2)
		began := time.Now()
		if err := t.finish(conn); err != nil {
			return err
		}
		took := time.Since(began)
		c.mu.Lock()
		c.figures.answers++
		if !cl.byOthers {
			c.figures.pause = max(c.figures.pause, took)
		}
		c.mu.Unlock()
		cl.answered.Store(round)
		time.Sleep(c.interval/2 - took)
	}
}
