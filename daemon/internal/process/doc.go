// SPDX-License-Identifier: Apache-2.0

// Package process keeps a program running for as long as somebody wants it, and
// joins its input and output to the event loop.
//
//	life.go      where a program stands in its life: a pure step
//	program.go   the program itself: does what the steps ask for
//	start.go     how a process becomes the program without stopping the loop
//	child.go     a process that works for one client, and its life
//	ask.go       a program that is asked, answers and ends
//	fork_linux.go  how such a process is started, which has to be fast
//	pipes.go     its input, output and errors, as connections of the loop
//	lines.go     bytes to lines
//	backoff.go   how long to wait before it is started again
//	orphans.go   processes that programs have left behind
//
// Two things block, and so a goroutine does them: it starts the process and waits for
// its end. The wait leaves the process as a zombie (WNOWAIT, see waitid(2)). Until the
// loop has reaped the zombie, no other process can get its number, so a signal from
// the loop never hits a wrong process. os/exec would reap without telling the loop,
// wrap each pipe in an *os.File with a finalizer, and copy through goroutines.
package process
