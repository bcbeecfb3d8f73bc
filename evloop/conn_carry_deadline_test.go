// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The times of TestRestoreKeepsDeadlines are long: a busy machine takes its
// time for a test, and that counts as well.
const (
	carryTimeout = time.Hour
	carryStep    = 24 * time.Minute
)

// A timeout goes on over any number of restarts, to loops with other clocks.
func TestRestoreKeepsDeadlines(t *testing.T) {
	write := func(c *Conn) { c.Write(make([]byte, 1<<20)) }
	for _, tt := range []struct {
		name    string
		options Options
		begin   func(*Conn)
		want    error
	}{
		{"silence", Options{IdleTimeout: carryTimeout}, func(*Conn) {}, ErrIdle},
		{"output that nobody takes", Options{StallTimeout: carryTimeout}, write, ErrStalled},
		{"a flush", Options{}, func(c *Conn) { write(c); c.CloseAfterFlush(carryTimeout, nil) }, ErrFlushTimeout},
	} {
		for _, b := range backends {
			t.Run(tt.name+" "+b.name, func(t *testing.T) {
				if b.name == "io_uring" {
					skipWithoutRing(t)
				}
				tt.options.Queue = 1 << 21
				h, passed := restart(t, b.open, &tt.options, tt.begin)
				if !h.closed || h.err != tt.want || passed != 3*carryStep {
					t.Errorf("closed %t (%v) after %v at a timeout of %v, want %v", h.closed, h.err, passed, carryTimeout, tt.want)
				}
			})
		}
	}
}

// restart lets some time pass again and again, with a restart after each, and
// returns what has become of the connection, and when.
func restart(t *testing.T, open func(Config) (*Loop, error), o *Options, begin func(*Conn)) (_ *history, passed time.Duration) {
	t.Helper()
	l, err := open(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { l.Close() }()
	h := newProbe(t)
	ours, _ := socketPair(t, unix.SOCK_STREAM)
	unix.SetsockoptInt(ours, unix.SOL_SOCKET, unix.SO_SNDBUF, 4096)
	c, err := l.Add(ours, h, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.SetOptions(o)
	l.enter()
	begin(c)
	l.leave()
	turn(t, l)
	l.be.offer()
	c.lookAtOutput() // the first look cannot tell whether output is on its way
	for passed < 2*carryTimeout {
		passed += carryStep
		l.clock += Time(carryStep)
		turn(t, l)
		if h.of(c).closed {
			break
		}
		fd, saved, err := detach(c)
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		if l, err = open(Config{}); err != nil {
			t.Fatal(err)
		}
		l.clock += Time(24 * time.Hour) // another loop, another clock
		if c, err = restore(l, fd, h, nil, o, saved); err != nil {
			t.Fatal(err)
		}
	}
	return h.of(c), passed
}
