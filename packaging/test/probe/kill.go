// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// The moments of a hand-over are microseconds apart, so a process is killed by its
// system calls: it is traced with ptrace(2), and killed when it begins a certain one,
// which is not made then. The alternative, strace with -e inject=, counts the calls of
// each thread singly, and Go may go on in another one.

// What a call of the traced process is to a hand-over.
const (
	other = iota
	store // the old process passes the queue to the manager
	begin // it says that it stops; from here on no client is served
	send  // it puts a message into the queue
	peek  // the new process looks at one
	take  // it takes one out: the first is the commit
	ready // it says that it is ready
)

var moments = map[string]int{"store": store, "send": send, "peek": peek, "take": take, "ready": ready}

// A watch counts what a process has done of a hand-over.
type watch struct {
	done  [ready + 1]int
	calls int // since the beginning of the hand-over
}

// kill waits until pid begins to do for the nth time what moment says, and kills it; for
// "calls" until its nth system call of the hand-over, of whatever kind. If n is 0 it does
// not, and only counts. The process may be stopped when kill is called.
func kill(pid int, moment string, n int) error {
	runtime.LockOSThread() // the kernel knows one thread as the tracer
	if err := attach(pid); err != nil {
		return err
	}
	fmt.Println("traced", pid)
	if err := unix.Kill(pid, unix.SIGCONT); err != nil {
		return os.NewSyscallError("kill", err)
	}
	w := watch{}
	for {
		thread, info, err := next(pid)
		if errors.Is(err, errEnded) {
			w.print("ended")
			return nil
		}
		if err != nil {
			return err
		}
		if info.op == syscallEntry {
			if what := classify(thread, info); w.is(moment, n, what) {
				w.print("killed")
				return os.NewSyscallError("kill", unix.Kill(pid, unix.SIGKILL))
			} else if w.count(what); what == ready {
				w.print("ready") // the kernel lets it go on when this process ends
				return nil
			}
		}
		_ = unix.PtraceSyscall(thread, 0) // it may have been killed meanwhile
	}
}

// is reports whether the call that begins now is the one.
func (w *watch) is(moment string, n, what int) bool {
	if moment == "calls" {
		return w.begun() && w.calls+1 == n
	}
	return what != other && what == moments[moment] && w.done[what]+1 == n
}

// begun reports whether calls count: since the old process has said that it stops, or since
// the new one has begun to look.
func (w *watch) begun() bool { return w.done[begin] > 0 || w.done[peek] > 0 }

func (w *watch) count(what int) {
	if w.begun() {
		w.calls++
	}
	w.done[what]++
}

func (w *watch) print(how string) {
	fmt.Printf("%s calls=%d queued=%d peeked=%d taken=%d\n", how, w.calls, w.done[send], w.done[peek], w.done[take])
}

// classify says what a call is. A message of a queue has one byte, see package handover.
func classify(thread int, info *syscallInfo) int {
	flags := info.args[2]
	switch {
	case info.nr == unix.SYS_RECVMSG && flags&unix.MSG_PEEK != 0:
		return peek
	case info.nr == unix.SYS_RECVMSG && flags&unix.MSG_DONTWAIT != 0:
		return take
	case info.nr != unix.SYS_SENDMSG:
		return other
	}
	payload := payload(thread, uintptr(info.args[1]))
	switch {
	case len(payload) == 1 && flags&unix.MSG_DONTWAIT != 0:
		return send
	case bytes.HasPrefix(payload, []byte("FDSTORE=1")):
		return store
	case bytes.HasPrefix(payload, []byte("STOPPING=1")):
		return begin
	case bytes.HasPrefix(payload, []byte("READY=1")):
		return ready
	}
	return other
}
