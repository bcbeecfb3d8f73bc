// SPDX-License-Identifier: Apache-2.0

package evlooptest

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Descriptors lists what the process has open, as "number target".
func Descriptors() []string {
	wakeRuntime()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	var open []string
	for _, e := range entries {
		// Readlink fails for the descriptor of the listing itself, which is
		// closed.
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			open = append(open, e.Name()+" "+to)
		}
	}
	return open
}

// wakeRuntime has the runtime open its own poller, which it does with the first
// pipe or socket, and start its goroutine for signals. It keeps both.
var wakeRuntime = sync.OnceFunc(func() {
	if r, w, err := os.Pipe(); err == nil {
		r.Close()
		w.Close()
	}
	c := make(chan os.Signal, 1)
	signal.Notify(c, unix.SIGWINCH)
	signal.Stop(c)
})

// SameDescriptors fails the test unless what is open is what was before. A
// goroutine may be about to close one of them: the test waits for that, up to
// Patience.
func SameDescriptors(t testing.TB, before []string) {
	t.Helper()
	var now []string
	for end := time.Now().Add(patience); ; runtime.Gosched() {
		if now = Descriptors(); slices.Equal(now, before) {
			return
		}
		if time.Now().After(end) {
			break
		}
	}
	for _, d := range now {
		if !slices.Contains(before, d) {
			t.Errorf("left open: %s", d)
		}
	}
	for _, d := range before {
		if !slices.Contains(now, d) {
			t.Errorf("closed, although it was open before: %s", d)
		}
	}
}

// NoneLeftOpen fails the test if something is open that was not before. It is for
// tests beside others, whose goroutines may still close what they have opened. It
// waits as SameDescriptors does.
func NoneLeftOpen(t testing.TB, before []string) {
	t.Helper()
	opened := func(d string) bool { return !slices.Contains(before, d) }
	for end := time.Now().Add(patience); slices.ContainsFunc(Descriptors(), opened); runtime.Gosched() {
		if time.Now().After(end) {
			t.Errorf("left open: %q", slices.DeleteFunc(Descriptors(), func(d string) bool { return !opened(d) }))
			return
		}
	}
}

// Main is for TestMain. It runs the tests of a package and returns the exit
// status: 1 also when a test has left a descriptor or a goroutine behind.
// Looking at the very end finds what no single test would look for, such as
// the descriptor of a connection that was refused; the price is that it does
// not say which test it was (run them one by one with -run).
func Main(m *testing.M) (status int) {
	before, goroutines := Descriptors(), runtime.NumGoroutine()
	status = m.Run()
	// A fuzzing run leaves the testing package's own signal handler behind.
	if status == 0 && flag.Lookup("test.fuzz").Value.String() == "" {
		status = leaks(before, goroutines)
	}
	return status
}

func leaks(before []string, goroutines int) (status int) {
	// A goroutine that has sent its last value may not have ended yet.
	for end := time.Now().Add(patience); runtime.NumGoroutine() > goroutines; runtime.Gosched() {
		if time.Now().After(end) {
			fmt.Println("left running:")
			_ = pprof.Lookup("goroutine").WriteTo(os.Stdout, 1)
			status = 1
			break
		}
	}
	for _, d := range Descriptors() {
		if !slices.Contains(before, d) {
			fmt.Println("left open:", d)
			status = 1
		}
	}
	return status
}
