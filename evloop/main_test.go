// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"testing"
	"time"
)

// TestMain fails the package when a test leaves a descriptor or a goroutine
// behind. Counting at the very end finds what no single test would look for,
// such as the descriptor of a connection that was refused; the price is that
// it does not say which test it was (run them one by one with -run).
func TestMain(m *testing.M) {
	// The runtime opens its own poller with the first pipe and keeps it.
	if r, w, err := os.Pipe(); err == nil {
		r.Close()
		w.Close()
	}
	before, goroutines := descriptors(), runtime.NumGoroutine()
	code := m.Run()
	// A fuzzing run leaves the testing package's own signal handler behind.
	if code == 0 && flag.Lookup("test.fuzz").Value.String() == "" {
		code = leaks(before, goroutines)
	}
	os.Exit(code)
}

func leaks(before []string, goroutines int) (code int) {
	for _, d := range descriptors() {
		if !slices.Contains(before, d) {
			fmt.Println("left open:", d)
			code = 1
		}
	}
	// A goroutine that has sent its last value may not have ended yet.
	for end := time.Now().Add(patience); runtime.NumGoroutine() > goroutines; runtime.Gosched() {
		if time.Now().After(end) {
			fmt.Println("left running:")
			pprof.Lookup("goroutine").WriteTo(os.Stdout, 1)
			return 1
		}
	}
	return code
}

// descriptors lists what is open as "number target".
func descriptors() []string {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	var open []string
	for _, e := range entries {
		// The one that fails is the descriptor of the listing itself.
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			open = append(open, e.Name()+" "+to)
		}
	}
	return open
}
