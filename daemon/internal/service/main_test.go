// SPDX-License-Identifier: Apache-2.0

package service

import (
	"fmt"
	"os"
	"testing"
	"time"
)

// The test binary is also the program that the handler tests run. When the
// tests are over, every descriptor they opened must be closed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case LaunchCommand:
			os.Exit(Launch(os.Args[2:]))
		case "program":
			testProgram()
			return
		}
	}
	if r, w, err := os.Pipe(); err == nil { // the runtime's own poller stays open
		r.Close()
		w.Close()
	}
	before := openFiles()
	status := m.Run()
	for began := time.Now(); status == 0 && openFiles() > before; {
		if time.Since(began) > patience {
			fmt.Fprintf(os.Stderr, "%d descriptors are open, %d were before the tests\n", openFiles(), before)
			status = 1
		}
	}
	os.Exit(status)
}

func openFiles() int {
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	return len(d)
}
