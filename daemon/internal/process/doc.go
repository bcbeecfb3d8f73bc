// SPDX-License-Identifier: Apache-2.0

// Package process keeps a program running for as long as somebody wants it, and
// joins its input and output to the event loop.
//
//	life.go      where a program stands in its life: a pure step
//	program.go   the program itself: does what the steps ask for
//	start.go     how a process becomes the program without stopping the loop
//	pipes.go     its input, output and errors, as connections of the loop
//	lines.go     bytes to lines
//	backoff.go   how long to wait before it is started again
//	orphans.go   processes that programs have left behind
//
// Only two things are done by a goroutine, since both block: to start the process
// and to wait for its end. The wait leaves the zombie (WNOWAIT, see waitid(2)):
// until the loop has reaped it, nobody else can get its number, so that a signal
// from the loop never hits a stranger. os/exec would reap behind our back, wrap
// each pipe in an *os.File with a finalizer, and copy through goroutines.
package process
