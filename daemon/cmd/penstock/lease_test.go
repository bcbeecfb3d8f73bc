// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/signal"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// A slow start is played by the kernel. While a process has a write lease on a
// file (fcntl(2)), execve(2) of it waits until the lease is given back, and
// the holder is told by SIGIO. A slow disk or a virus scanner looks the same to
// those who start the program, and no privilege is needed.

// lease makes the reading of a file, or its start as a program, wait until release.
func lease(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	ts.Check(os.Chmod(path, 0o755))
	wanted := make(chan os.Signal, 1)
	signal.Notify(wanted, unix.SIGIO)
	f, err := os.Open(path)
	ts.Check(err)
	// A process that another script has just forked may have the file open until its
	// execve, from the time when this script was unpacked.
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK)
		if err == nil {
			break
		}
		if err != unix.EAGAIN || time.Now().After(end) {
			ts.Fatalf("lease of %s: %v", path, err)
		}
	}
	w := worldOf(ts)
	w.leases[args[0]] = f
	w.wanted = wanted
}

// wanted waits until somebody waits for the lease.
func wanted(ts *testscript.TestScript, _ bool, args []string) {
	w := worldOf(ts)
	deadline := time.After(patience)
	for {
		// SIGIO does not say which of several scripts it is for; the kernel does:
		// a lease that is asked for back is reported as what it has to become.
		kind, err := unix.FcntlInt(w.leases[args[0]].Fd(), unix.F_GETLEASE, 0)
		ts.Check(err)
		if kind != unix.F_WRLCK {
			return
		}
		select {
		case <-w.wanted:
		case <-deadline:
			ts.Fatalf("nobody starts %s", args[0])
		}
	}
}

func release(ts *testscript.TestScript, _ bool, args []string) {
	w := worldOf(ts)
	signal.Stop(w.wanted)
	ts.Check(w.leases[args[0]].Close())
	delete(w.leases, args[0])
}
