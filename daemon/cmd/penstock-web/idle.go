// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// An idle tells when nobody has asked for a while. A connection on which a request is
// under way, or may come at any moment because it is new, counts; one that a browser has
// left open does not.
//
//	no connection counts ──(after)──► done
//	        ▲   │ one counts
//	        └───┘
type idle struct {
	after time.Duration // 0: never
	done  chan struct{} // closed

	mu    sync.Mutex
	conns map[net.Conn]bool // those that count
	held  int               // terminals, of which package http knows nothing more
	timer *time.Timer
}

func newIdle(after time.Duration) *idle {
	i := &idle{after: after, done: make(chan struct{}), conns: make(map[net.Conn]bool)}
	if after > 0 {
		i.timer = time.AfterFunc(after, i.end)
	}
	return i
}

func (i *idle) end() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.conns)+i.held > 0 {
		return // it came at the same moment
	}
	select {
	case <-i.done:
	default:
		close(i.done)
	}
}

// changed is a hook of http.Server.
func (i *idle) changed(c net.Conn, state http.ConnState) {
	i.count(func() {
		if state == http.StateNew || state == http.StateActive {
			i.conns[c] = true
		} else {
			delete(i.conns, c)
		}
	})
}

// hold counts a terminal until release is called.
func (i *idle) hold() (release func()) {
	i.count(func() { i.held++ })
	return func() { i.count(func() { i.held-- }) }
}

// count changes what counts, and starts or stops the timer.
func (i *idle) count(change func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	was := len(i.conns) + i.held
	change()
	is := len(i.conns) + i.held
	switch {
	case i.timer == nil:
	case was == 0 && is > 0:
		i.timer.Stop()
	case was > 0 && is == 0:
		i.timer.Reset(i.after)
	}
}
