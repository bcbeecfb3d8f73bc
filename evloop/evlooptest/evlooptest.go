// SPDX-License-Identifier: Apache-2.0

// Package evlooptest helps to test what runs on a loop of package evloop: it
// drives the loop beside the test, runs functions on it, makes connections
// whose other end the test holds, and finds descriptors that are left open.
//
//	func TestShout(t *testing.T) {
//		l, err := evloop.New(evloop.Config{})
//		if err != nil {
//			t.Fatal(err)
//		}
//		evlooptest.Run(t, l)
//		fd, peer := evlooptest.Pair(t, "unix")
//		evlooptest.Do(t, l, func() { _, err = l.Add(fd, shout{}, nil) })
//		...
//		io.WriteString(peer, "hello\n")
//	}
//
// shout_test.go has the whole test.
//
// A loop is known by its methods and not by its type, so that the tests inside
// package evloop can use this package too. No program may: it is for tests only.
package evlooptest

import (
	"testing"
	"time"
)

// Patience is how long a test waits for what must happen. It is long because
// machines may be slow or busy, and it is only spent by a test that fails.
const Patience = 20 * time.Second

// patience is Patience, unless a test of this package lets it run out.
var patience = Patience

// A Loop is an *evloop.Loop.
type Loop interface {
	Run() error
	Post(f func()) bool
	Stop()
	Close()
}

// Run runs l on a goroutine of its own. When the test ends, l is stopped and
// closed, and an error of Run fails the test. Functions that were given to
// t.Cleanup before Run are called after that; those that were given later are
// called while l still runs.
func Run(t testing.TB, l Loop) {
	t.Helper()
	ended := make(chan error, 1)
	// A loop on io_uring belongs to its thread, so it is closed there as well.
	go func() {
		err := l.Run()
		l.Close()
		ended <- err
	}()
	t.Cleanup(func() {
		l.Stop()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("the loop ended with: %v", err)
			}
		case <-time.After(patience):
			t.Error("the loop does not end")
		}
	})
}

// Do runs f on the goroutine of l, as the loop runs callbacks, and returns when
// f has returned. What f wrote has been sent by then unless a peer does not
// read, or l uses io_uring, which sends at the end of the turn.
func Do(t testing.TB, l Loop, f func()) {
	t.Helper()
	done := make(chan struct{})
	if !l.Post(func() { defer close(done); f() }) {
		t.Fatal("the loop is closed")
	}
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("the loop does not turn")
	}
}

// Until lets l turn until cond, which is called on its goroutine once a turn,
// returns true. The test fails with "what does not happen" if that takes longer
// than Patience.
func Until(t testing.TB, l Loop, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		holds := false
		Do(t, l, func() { holds = cond() })
		if holds {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not happen", what)
		}
	}
}
