// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"errors"

	"golang.org/x/sys/unix"

	"penstock/evloop"
)

// Our ends of a program's three pipes are connections of the loop like those
// of clients: what is written to the program is queued, and what it says is
// read, by the same code and within the same bounds.

// stdin is the program's input, our end of it.
type stdin struct {
	plain
	p *program
}

func (stdin) Data(_ *evloop.Conn, b []byte) int { return len(b) }
func (s stdin) Drained(*evloop.Conn)            { s.p.user.proceed() }

// Closed comes early when the program does not want to hear any more. Then it
// is of no use. The loop is closed at exit, when there is no time left for
// politeness.
func (s stdin) Closed(c *evloop.Conn, err error) {
	if s.p.in != c {
		return
	}
	s.p.in = nil
	s.p.failed("stdin", err)
	s.p.hangUp()
	if err == evloop.ErrLoopClosed {
		s.p.signal(unix.SIGTERM)
	}
}

// stdout is the program's output.
type stdout struct {
	plain
	p *program
}

// deliveries bounds what the lines of a program cost its clients in a turn of
// the loop, in messages put into queues.
const deliveries = 16 << 10

// Data takes less the more clients a line may go to: a program that floods its
// output must not keep the loop for long.
func (s stdout) Data(c *evloop.Conn, b []byte) int {
	b = portion(c, b, deliveries/max(4, s.p.user.size()))
	s.p.lines.feed(b, s.p.user.deliver, s.p.user.overlong)
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
func (p *program) saidAll() {
	p.lines.end(func(rest []byte) {
		if len(bytes.TrimSpace(rest)) > 0 {
			p.user.deliver(rest)
		}
	}, p.user.overlong)
}

// Closed comes early when the program does not want to speak any more.
func (s stdout) Closed(c *evloop.Conn, err error) {
	if s.p.out != c {
		return
	}
	s.p.out = nil
	s.p.failed("stdout", err)
	s.p.saidAll()
	if s.p.pid == 0 {
		s.p.quiet()
		return
	}
	s.p.hangUp()
}

// stderr is what the program says to the operator.
type stderr struct {
	plain
	p *program
}

func (s stderr) Data(c *evloop.Conn, b []byte) int {
	b = portion(c, b, deliveries/4)
	s.p.spoken.feed(b, s.p.say, s.p.sayLong)
	return len(b)
}

// say passes a line of stderr on to the operator.
func (p *program) say(line []byte) { p.log.ProgramWrote(line) }

// sayLong passes on the beginning of a line that is too long.
func (p *program) sayLong(head []byte, _ int) { p.say(append(head, "..."...)) }

// Closed leaves the program alone: it may work without.
func (s stderr) Closed(c *evloop.Conn, err error) {
	if s.p.errs != c {
		return
	}
	s.p.errs = nil
	s.p.failed("stderr", err)
	if s.p.pid == 0 {
		s.p.quiet()
	}
}

// failed says which pipe the system has taken from us, and why. A program that
// closes its end is no failure: its own end will be reported.
func (p *program) failed(pipe string, err error) {
	if _, system := errors.AsType[unix.Errno](err); system && !errors.Is(err, unix.EPIPE) {
		p.log.PipeFailed(pipe, err)
	}
}
