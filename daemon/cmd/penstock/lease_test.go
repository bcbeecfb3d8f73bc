// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"os"
	"os/signal"
	"syscall"
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
	wanted := make(chan os.Signal, 1)
	signal.Notify(wanted, unix.SIGIO)
	ts.Check(renew(path))
	f, err := os.Open(path)
	ts.Check(err)
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK)
	ts.Check(err)
	w := worldOf(ts)
	w.leases[args[0]] = f
	w.wanted = wanted
}

// renew makes the file one that no other process has open. One that another script has
// just forked may have the old one open until its execve, from the time when this script
// was unpacked. The lock keeps processes from being forked while the new one is open.
func renew(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return errors.Join(os.WriteFile(path+".new", text, 0o755), os.Rename(path+".new", path))
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
