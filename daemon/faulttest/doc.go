// SPDX-License-Identifier: Apache-2.0

// Package faulttest runs the real binary while the system around it fails. It
// has no code of its own: `make fault-test` runs its tests for a minute, `make
// nightly` all of them. They need root, strace(1) and Linux, and are skipped
// by `go test ./...`.
//
// What is asserted is what a neighbour sees. The process does not hang and
// does not spin. What a client reads is right to the byte, as far as it goes.
// A client that was ended has a line in the log that names the call and the
// error. When the fault is over, everything is served.
//
// System calls are made to fail by strace. For those of the loop it is attached
// to a process that already serves and detached again (TestInject): so the same
// process shows how it takes the fault and how it recovers. For those of the
// start, the reload and the stop it runs the process from its exec on
// (TestInjectLife). A library under the binary could not do it, since a Go
// program makes its calls itself; a seccomp filter could not be taken off again.
//
// Which calls there are is not left to memory: TestCensus looks at whole lives of
// the daemon, and fails for a call that is neither in the tables nor exempt with
// a reason. The tables fail for a call that nothing makes.
//
// TestFair is about clients instead of the system: whatever one service has to
// do, the clients of another do not feel it. `make fair-test` runs it, alone,
// since it measures time.
//
// The listening sockets are the test's and are passed as systemd would pass
// them. So no port is fixed, clients may come at any moment, and a daemon that
// was allowed to end can be followed by another.
package faulttest
