// SPDX-License-Identifier: Apache-2.0

package main

import (
	"runtime"
	"sync/atomic"

	"penstock/evloop"
)

// Two loops on two threads. The first one accepts and hands each connection
// over to the loop that has the fewest, which may be itself; from then on the
// loops know nothing of each other. So this works only for modes in which
// connections send each other nothing. It is the cheapest way to use a second
// core: if it gains nothing, no other way will.
type crew struct {
	base
	h     evloop.Handler
	loops []*evloop.Loop
	conns []atomic.Int32 // of each loop
}

// serveTwo is serve with two loops.
func serveTwo(fd int, h evloop.Handler) error {
	const n = 2
	runtime.GOMAXPROCS(n)
	w := &crew{h: h, conns: make([]atomic.Int32, n)}
	for range n {
		l, err := evloop.New(evloop.Config{})
		if err != nil {
			return err
		}
		w.loops = append(w.loops, l)
	}
	if _, err := w.loops[0].Listen(fd, acceptor{w}); err != nil {
		return err
	}
	ended := make(chan error, n)
	for _, l := range w.loops {
		go func() { ended <- l.Run() }()
	}
	return <-ended
}

// Open hands the connection over before anything was read from it.
func (w *crew) Open(c *evloop.Conn) {
	least := 0
	for i := range w.conns {
		if w.conns[i].Load() < w.conns[least].Load() {
			least = i
		}
	}
	w.conns[least].Add(1)
	carried, messages := c.Loop().DetachAll([]*evloop.Conn{c})
	if err := carried[0].Err; err != nil {
		c.Abort(err)
		return
	}
	l := w.loops[least]
	l.Post(func() {
		r, err := l.NewRestore(messages)
		if err != nil {
			return
		}
		// An error is about a client that has gone meanwhile; the descriptor
		// stays open then, which a bench can afford.
		_, _ = r.Conn(carried[0].FD, counted{w.h, &w.conns[least]}, nil, nil, carried[0].Record)
		r.Done()
	})
}

// Data is never called: no connection stays.
func (w *crew) Data(_ *evloop.Conn, p []byte) int { return len(p) }

// counted tells the crew when a connection ends.
type counted struct {
	evloop.Handler
	conns *atomic.Int32
}

func (h counted) Closed(c *evloop.Conn, err error) {
	h.conns.Add(-1)
	h.Handler.Closed(c, err)
}
