// SPDX-License-Identifier: Apache-2.0

package evlooptest

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"penstock/evloop"
)

// A witness is a test that is watched failing.
type witness struct {
	testing.TB
	said string
}

func (w *witness) Helper() {}

func (w *witness) Errorf(format string, args ...any) { w.said += fmt.Sprintf(format, args...) + "\n" }

func (w *witness) Fatal(args ...any)                 { w.said += fmt.Sprintln(args...); runtime.Goexit() }
func (w *witness) Fatalf(format string, args ...any) { w.Errorf(format, args...); runtime.Goexit() }

// watch returns what f says to the test that it is given.
func watch(t *testing.T, f func(t testing.TB)) string {
	w := &witness{TB: t}
	done := make(chan struct{})
	go func() { defer close(done); f(w) }()
	<-done
	return w.said
}

func hasty(t *testing.T, d time.Duration) {
	patience = d
	t.Cleanup(func() { patience = Patience })
}

// A descriptor that is left open, and one that is gone, fail a test.
func TestSameDescriptorsFails(t *testing.T) {
	hasty(t, 5*time.Millisecond)
	before := Descriptors()
	if said := watch(t, func(t testing.TB) { SameDescriptors(t, before) }); said != "" {
		t.Errorf("nothing has changed, and it said %q", said)
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("%d /dev/null\n", f.Fd())
	if said := watch(t, func(t testing.TB) { SameDescriptors(t, before) }); said != "left open: "+name {
		t.Errorf("with one more open it said %q", said)
	}
	if said := watch(t, func(t testing.TB) { NoneLeftOpen(t, before) }); said != fmt.Sprintf("left open: %q\n", []string{strings.TrimSpace(name)}) {
		t.Errorf("with one more open NoneLeftOpen said %q", said)
	}
	before = Descriptors()
	f.Close()
	if said := watch(t, func(t testing.TB) { NoneLeftOpen(t, before) }); said != "" {
		t.Errorf("with one less open NoneLeftOpen said %q", said)
	}
	if said := watch(t, func(t testing.TB) { SameDescriptors(t, before) }); said != "closed, although it was open before: "+name {
		t.Errorf("with one less open it said %q", said)
	}
}

// Do and Until fail on a loop that is closed or does not turn, and Until on a
// condition that never holds.
func TestDoAndUntilFail(t *testing.T) {
	hasty(t, 5*time.Millisecond)
	l, err := evloop.New(evloop.Config{})
	if err != nil {
		t.Fatal(err)
	}
	nothing := func() {}
	if said := watch(t, func(t testing.TB) { Do(t, l, nothing) }); said != "the loop does not turn\n" {
		t.Errorf("on a loop that nobody runs Do said %q", said)
	}
	never := func() bool { return false }
	hasty(t, time.Second) // a turn may take a while on a busy machine
	t.Run("running", func(t *testing.T) {
		Run(t, l)
		if said := watch(t, func(t testing.TB) { Until(t, l, "a miracle", never) }); said != "a miracle does not happen\n" {
			t.Errorf("Until said %q", said)
		}
	})
	if said := watch(t, func(t testing.TB) { Do(t, l, nothing) }); said != "the loop is closed\n" {
		t.Errorf("on a closed loop Do said %q", said)
	}
}
