// SPDX-License-Identifier: Apache-2.0

//go:build evloopcheck

package evloop

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A call that belongs to the loop's goroutine panics on any other while Run runs,
// although the two are in order and the race detector therefore says nothing.
func TestCallOnAnotherGoroutine(t *testing.T) {
	l, c := servedConn(t)
	for name, call := range map[string]func(){
		"Conn.Write":    func() { c.Write([]byte("x")) },
		"Conn.Pause":    c.Pause,
		"Conn.Abort":    func() { c.Abort(nil) },
		"Loop.Conn":     func() { l.Conn(c.ID()) },
		"Loop.Schedule": func() { l.Schedule(Timer{}) },
		"Loop.Stats":    func() { l.Stats() },
		"Loop.Close":    l.Close,
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if said, _ := recover().(string); !strings.Contains(said, "another goroutine") {
					t.Errorf("panic = %q, want one that says it is another goroutine", said)
				}
			}()
			call()
		})
	}
}

// Before Run and after it any goroutine may call, one at a time.
func TestCallWithoutRun(t *testing.T) {
	l := openLoop(t)
	a, _ := socketPair(t, unix.SOCK_STREAM)
	c, err := l.Add(a, newProbe(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	l.Stop()
	done := make(chan error)
	go func() { done <- l.Run() }()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !c.Write([]byte("x")) {
		t.Error("Write after Run = false")
	}
}

// servedConn returns a connection of a loop that runs on a goroutine of its own.
func servedConn(t *testing.T) (*Loop, *Conn) {
	l := openLoop(t)
	a, _ := socketPair(t, unix.SOCK_STREAM)
	c, err := l.Add(a, newProbe(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	done, running := make(chan error), make(chan struct{})
	l.Post(func() { close(running) })
	go func() { done <- l.Run() }()
	<-running
	t.Cleanup(func() { // before that of openLoop
		l.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l, c
}
