// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"penstock/daemon/internal/control"
)

// A stream is a call that has a reply whenever something has happened, until the client
// goes. Like a client of a service it is bounded, and when it does not read, the oldest is
// dropped and counted:
//
//	push ─► list ─► due ─► tell ─► reply ─► queue ─► socket
//	        │ full: the oldest goes, missed counts it, and the next reply says so
//
// What happens is not encoded before its reply is made, one portion in a turn of the loop
// for all clients (control_call.go). So a flood makes replies of many items, and no turn
// that is longer.
type stream[T any] struct {
	k      *controlSocket
	a      *asker
	list   []item[T] // what has yet to be told, the oldest first
	bytes  int       // of list
	bound  int
	missed uint64

	tell  func(items []T, missed uint64) any // returns the parameters of a reply
	leave func()                             // called once, when the stream is over
	told  bool                               // there was a reply
	err   *control.Error                     // ends it
}

// An item is something that has happened, and about how many bytes it holds.
type item[T any] struct {
	v    T
	size int
}

const (
	// streamBound is how many bytes may wait to be told.
	streamBound = 128 << 10
	// itemSize is what an item holds beside its bytes.
	itemSize = 128
	// tellBytes and tellItems are how much is told in a turn: some hundred microseconds
	// on a small board. One item may have more.
	tellBytes = 16 << 10
	tellItems = 64
)

// A streaming is a stream of any items.
type streaming interface {
	pending() bool
	end()
}

// begin has the call of the client be this stream. The first reply comes in any case.
func (s *stream[T]) begin() (func() bool, *control.Error) {
	s.a.stream = s
	s.a.conn.HoldIdle(true)
	return s.step, nil
}

// wantsMore returns why a call cannot be a stream.
func wantsMore(a *asker) *control.Error {
	if !a.call.More || a.call.OneWay {
		return control.ErrExpectedMore
	}
	return nil
}

// push adds an item.
func (s *stream[T]) push(v T, size int) {
	size += itemSize
	s.list = append(s.list, item[T]{v, size})
	s.bytes += size
	for s.bytes > s.bound && len(s.list) > 1 {
		s.bytes -= s.list[0].size
		s.list[0] = item[T]{}
		s.list = s.list[1:]
		s.missed++
	}
	s.awake()
}

// fail ends the stream with an error.
func (s *stream[T]) fail(err *control.Error) {
	s.err = err
	s.awake()
}

// awake has the stream told in a turn to come. A client that does not read is told when
// its queue has drained.
func (s *stream[T]) awake() {
	if c := s.a.conn; c != nil && !c.Closing() && !c.Full() {
		s.k.wait(s.a)
	}
}

func (s *stream[T]) pending() bool {
	return !s.told || s.err != nil || len(s.list) > 0 || s.missed > 0
}

// end is called when the client or the call is gone.
func (s *stream[T]) end() {
	s.list = nil
	s.leave()
}

// step tells a portion.
func (s *stream[T]) step() (done bool) {
	if s.err != nil {
		s.a.fail(s.err)
		return true
	}
	if !s.pending() {
		return false
	}
	items, bytes := []T{}, 0
	for len(s.list) > 0 && len(items) < tellItems && bytes < tellBytes {
		first := s.list[0]
		items = append(items, first.v)
		bytes += first.size
		s.list[0] = item[T]{}
		s.list = s.list[1:]
	}
	s.bytes -= bytes
	missed := s.missed
	s.told, s.missed = true, 0
	s.a.reply(s.tell(items, missed), true)
	return false
}

// endStream ends the stream of a client, if it has one.
func (a *asker) endStream() {
	if s := a.stream; s != nil {
		a.stream = nil
		if a.conn != nil {
			a.conn.HoldIdle(a.holds.any())
		}
		s.end()
	}
}
