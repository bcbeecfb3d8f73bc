// SPDX-License-Identifier: Apache-2.0

package service

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"penstock/evloop"
)

// The ends of a client's pipes, and how each ends the other:
//
//	client shuts its side       the program's input ends behind what is queued
//	program closes its input    what the client still says is thrown away
//	program closes its output   the client gets the rest of it and FIN, and may go on to speak
//	program closes both,        the client gets the rest, and its connection ends
//	or ends
//	client is gone              the input ends, and writing to the output is an error
//
// Our ends are connections of the loop, under Disconnect like those of a proxy, and no
// more is written than fits.

// spawnOnPipes starts the program between two pipes.
func (j *job) spawnOnPipes() error {
	var in, out [2]int
	if err := unix.Pipe2(in[:], unix.O_CLOEXEC); err != nil {
		return os.NewSyscallError("pipe2", err)
	}
	err := os.NewSyscallError("pipe2", unix.Pipe2(out[:], unix.O_CLOEXEC))
	if err != nil {
		closeFD(in[0])
		closeFD(in[1])
		return err
	}
	err = j.spawn(in[0], out[1])
	closeFD(in[0])
	closeFD(out[1])
	if err != nil {
		closeFD(in[1])
		closeFD(out[0])
		return err
	}
	j.in, j.out = j.add(in[1], inward{}), j.add(out[0], outward{})
	j.client.Resume()
	return nil
}

// add has the loop serve one end. If it cannot, the program finds that end closed.
func (j *job) add(fd int, h evloop.Handler) *evloop.Conn {
	c, err := j.s.env.Loop.AddOwn(fd, h, j)
	if err != nil { // out of memory or of watches
		closeFD(fd)
		j.s.env.Log.PipeFailed("of a client", err)
		return nil
	}
	c.SetOptions(j.s.opts)
	return c
}

// hears reports whether the program may still take what the client says.
func (j *job) hears() bool { return j.child != nil && j.in != nil && !j.in.Closing() }

// endInput ends the program's input, behind what is queued for it.
func (j *job) endInput() {
	if j.in != nil {
		j.in.CloseAfterFlush(untilStalled, nil)
	}
}

// passRest passes on what a leaving client has said, and the end.
func (j *job) passRest() {
	if !j.hears() {
		return
	}
	j.rest = j.rest[pass(j.client, j.in, j.rest):]
	if len(j.rest) == 0 {
		j.deaf = true
		j.endInput()
	}
}

// endPipes is called when the program has ended. Nobody reads its input any more. Its
// output may still be on its way, and processes that it has left may hold the pipe open
// for ever, so silence is its end.
func (j *job) endPipes() {
	if in := j.in; in != nil {
		j.in = nil
		in.Abort(nil)
		j.proceed()
	}
	if j.out != nil {
		j.out.SetOptions(restOptions)
	}
}

// restOptions bound the output of a program that has ended.
var restOptions = &evloop.Options{IdleTimeout: time.Second}

// proceed has the client go on to speak.
func (j *job) proceed() {
	switch {
	case j.client == nil:
	case j.leaving:
		j.passRest()
	default:
		j.client.Resume()
	}
}

// inward is the program's input.
type inward struct{ evloop.Base }

// Data is not called: the pipe has no input.
func (inward) Data(_ *evloop.Conn, b []byte) int { return len(b) }

func (inward) Drained(c *evloop.Conn) { c.State.(*job).proceed() }

// Closed goes on without the input, unless the system is to blame or the program takes
// nothing for too long.
func (inward) Closed(c *evloop.Conn, err error) {
	j := c.State.(*job)
	if j.in != c {
		return
	}
	j.in = nil
	switch {
	case err == evloop.ErrLoopClosed:
		return
	case j.client == nil:
	case errors.Is(err, evloop.ErrStalled):
		j.client.CloseAfterFlush(goodbyeTimeout, ErrNotTaken)
	case errors.Is(err, evloop.ErrMemory):
		j.client.Abort(err)
	case j.out == nil:
		j.finish()
	default:
		j.proceed()
	}
	j.settle()
}

// outward is the program's output.
type outward struct{ evloop.Base }

// Data passes on what the program says, as much as the client takes.
func (outward) Data(c *evloop.Conn, b []byte) int {
	j := c.State.(*job)
	return passBack(&j.s.env, j.s.conf, c, j.client, b)
}

// Closed ends what the client gets behind the last byte, and the client with it unless
// the program still hears it. One that was not executed never does.
func (outward) Closed(c *evloop.Conn, err error) {
	j := c.State.(*job)
	if j.out != c {
		return
	}
	j.out = nil
	if err == evloop.ErrLoopClosed {
		return
	}
	if j.child != nil {
		j.failed = j.child.Failed()
	}
	if j.client != nil && err == nil && j.failed == nil && j.hears() {
		j.client.CloseWrite()
	} else {
		j.finish()
	}
	j.s.env.Sending()
	j.settle()
}
