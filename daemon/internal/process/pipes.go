// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bytes"
	"errors"

	"golang.org/x/sys/unix"

	"penstock/evloop"
)

// Our ends of the three pipes are connections of the loop, like those of clients. So
// the same code, with the same bounds, queues what is written to the program and reads
// what it prints.

// pipeOptions bound what waits for the program. Under the policy Pause nothing is
// dropped; the handler asks Ready before it writes. Exempt means that the loop never
// cuts the pipe when limits.memory is reached: otherwise a few hundred clients could
// have the program ended.
var pipeOptions = &evloop.Options{Queue: 64 << 10, LowWater: 32 << 10, Exempt: true}

// adopt adds the pipes of a running program to the loop. If that fails, the program is
// of no use and is asked to end.
func (p *Program) adopt() bool {
	p.began = p.loop.Now()
	handlers := []evloop.Handler{stdin{p: p}, stdout{p: p}, stderr{p: p}}
	conns := []**evloop.Conn{&p.in, &p.out, &p.errs}
	for i, fd := range p.pipes.ours() {
		c, err := p.loop.AddOwn(fd, handlers[i], nil)
		if err != nil { // out of memory or of watches
			closeAll(p.pipes.ours()[i:]...)
			p.log.ProgramNotStarted(p.argv[0], err)
			p.advance(hangup)
			return false
		}
		*conns[i] = c
		c.SetOptions(pipeOptions)
	}
	return true
}

// stdin is the program's input, our end of it.
type stdin struct {
	evloop.Base
	p *Program
}

func (stdin) Data(_ *evloop.Conn, b []byte) int { return len(b) }
func (s stdin) Drained(*evloop.Conn)            { s.p.user.Proceed() }

// Closed is called when the program has closed its input. Then it is of no use and is
// asked to end, unless what it says is wanted in itself (Raw): a source may have no use
// for input. When the loop itself is closed, at exit, it gets SIGTERM at once.
func (s stdin) Closed(c *evloop.Conn, err error) {
	if s.p.in != c {
		return
	}
	s.p.in = nil
	s.p.failed("stdin", err)
	switch {
	case err == evloop.ErrLoopClosed:
		s.p.advance(hangup)
		s.p.signal(unix.SIGTERM)
	case s.p.Raw == nil:
		s.p.advance(hangup)
	case s.p.Alive():
		s.p.user.Proceed() // nothing that waits will be taken
	}
}

// stdout is the program's output.
type stdout struct {
	evloop.Base
	p *Program
}

// deliveries bounds what the lines of a program cost its clients in a turn of
// the loop, in messages put into queues.
const deliveries = 16 << 10

// Data takes fewer bytes the more clients there are, since each line may go to all of
// them: a program that floods its output must not keep the loop busy for long.
func (s stdout) Data(c *evloop.Conn, b []byte) int {
	if s.p.Raw != nil {
		s.p.Raw(b)
		return len(b)
	}
	b = portion(c, b, deliveries/max(4, s.p.user.Size()))
	s.p.lines.feed(b, s.p.user.Deliver, s.p.user.Overlong)
	return len(b)
}

// portion returns at most the first most bytes of b, and no fewer than 128; the
// loop shows the rest in its next turn.
func portion(c *evloop.Conn, b []byte, most int) []byte {
	most = max(most, 128)
	if len(b) <= most {
		return b
	}
	c.Yield()
	return b[:most]
}

// saidAll passes on a last line of stdout that lacks its end.
func (p *Program) saidAll() {
	p.lines.end(func(rest []byte) {
		if len(bytes.TrimSpace(rest)) > 0 {
			p.user.Deliver(rest)
		}
	}, p.user.Overlong)
}

// Closed is called when the program has closed its output.
func (s stdout) Closed(c *evloop.Conn, err error) {
	if s.p.out != c {
		return
	}
	s.p.out = nil
	s.p.failed("stdout", err)
	s.p.saidAll()
	s.p.advance(hangup)
	s.p.hear()
}

// stderr is what the program says to the operator.
type stderr struct {
	evloop.Base
	p *Program
}

func (s stderr) Data(c *evloop.Conn, b []byte) int {
	return s.p.spoken.hear(c, b)
}

// Closed does not end the program: it can work without stderr.
func (s stderr) Closed(c *evloop.Conn, err error) {
	if s.p.errs != c {
		return
	}
	s.p.errs = nil
	s.p.failed("stderr", err)
	s.p.hear()
}

// failed logs that the system has failed a pipe, and why. If the program has closed
// its end of the pipe, that is not a failure.
func (p *Program) failed(pipe string, err error) {
	if _, system := errors.AsType[unix.Errno](err); system && !errors.Is(err, unix.EPIPE) {
		p.log.PipeFailed(pipe, err)
	}
}
