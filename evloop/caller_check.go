// SPDX-License-Identifier: Apache-2.0

//go:build evloopcheck

package evloop

import (
	"bytes"
	"runtime"
	"sync/atomic"
)

// A call from the wrong goroutine is a data race, but the race detector finds it
// only if both sides touch the same word without an order between them. A
// program that is built with the tag evloopcheck therefore also notes which
// goroutine runs the loop, and the calls that belong there panic anywhere else.
// The number of a goroutine can only be read from its stack trace, which costs
// microseconds: too much for a program that serves, and for tests under -race.

// caller names the goroutine that is inside Run.
type caller struct{ id atomic.Pointer[string] }

func (c *caller) enterRun() {
	id := goroutine()
	c.id.Store(&id)
}

func (c *caller) leaveRun() { c.id.Store(nil) }

// checkCaller panics on another goroutine than that of Run, while Run runs.
func (l *Loop) checkCaller() {
	if id := l.caller.id.Load(); id != nil && *id != goroutine() {
		panic("evloop: call on another goroutine than that of Run; see Loop.Post")
	}
}

// goroutine returns the number of the calling goroutine, as its trace begins:
// "goroutine 18 [running]:".
func goroutine() string {
	var trace [64]byte
	fields := bytes.Fields(trace[:runtime.Stack(trace[:], false)])
	return string(fields[1])
}
