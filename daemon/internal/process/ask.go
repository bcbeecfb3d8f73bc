// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/report"
	"penstock/evloop"
)

// A Question is put to a program that answers on its standard output and ends, as
// getent(1) does. It has no input and an empty environment.
//
//	Ask ──► Child, output pipe ──► both have ended ──► answered
//	             │ time is over: SIGTERM, SIGKILL          ▲
//	             └─────────────────────────────────────────┘
//
// What the program says on its error output goes to the log, as for other programs. Its
// output ends soon after it: a process that it has left behind may hold that open for
// ever, or even write to it. With what another process has written it is no answer.
type Question struct {
	loop     *evloop.Loop
	until    evloop.Time  // it has that long
	child    *Child       // nil: it has ended
	out      *evloop.Conn // nil: all was read
	text     []byte
	long     bool                         // the answer was longer than mostAnswer
	err      error                        // why there is no answer
	answered func(text []byte, err error) // nil: nobody wants to hear it any more
}

// mostAnswer is how many bytes an answer may have.
const mostAnswer = 16 << 10

// ErrLate is the error of a program that has not answered in time.
var ErrLate = errors.New("no answer in time")

// A Status is the error of a program that did not end with the exit status 0, such as
// "exit status 2" or "signal: killed".
type Status string

// Error returns the text.
func (s Status) Error() string { return string(s) }

// Ask puts a question: it starts argv, whose first word is the path of its file, and calls
// answered on the loop when the program has ended, once, and not before Ask returns. The
// program has the time limit. An error means that it was not started, and answered is not
// called.
func Ask(loop *evloop.Loop, log *report.Service, argv []string, limit time.Duration, answered func(text []byte, err error)) (*Question, error) {
	null, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: os.DevNull, Err: err}
	}
	defer closeAll(null)
	var out [2]int
	if err := unix.Pipe2(out[:], unix.O_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	defer closeAll(out[1])
	q := &Question{loop: loop, until: loop.Now().Add(limit), answered: answered}
	q.child, err = Spawn(loop, log, Task{Argv: argv, Around: Surroundings{Bare: true}, In: null, Out: out[1], Quiet: true}, q.over)
	if err != nil {
		closeAll(out[0])
		return nil, err
	}
	if q.out, err = loop.AddOwn(out[0], answer{q: q}, nil); err != nil { // out of memory or of watches
		closeAll(out[0])
		q.err = err
		limit = 0
	}
	q.child.Stop(limit)
	return q, nil
}

// Cancel has nobody hear the answer, and ends the program. q may be nil.
func (q *Question) Cancel() {
	if q == nil {
		return
	}
	q.answered = nil
	switch {
	case q.child == nil:
	case q.loop.Post(func() {}):
		q.child.Stop(0)
	default: // it is closed, and no timer of it expires
		q.child.Lose()
	}
}

// restTimeout is for an output that a process of the program's own holds open.
const restTimeout = time.Second

// Expired ends the output.
func (q *Question) Expired(*evloop.Loop, evloop.Timer) {
	if q.err == nil && q.out.Idle() < restTimeout/2 {
		q.err = ErrLate // somebody goes on writing
	}
	q.out.Abort(nil)
}

// over is called when the program has ended.
func (q *Question) over(failed error) {
	child := q.child
	q.child = nil
	switch {
	case q.err != nil:
	case failed != nil:
		q.err = failed
	case child.ended != endedWell && q.loop.Now() >= q.until:
		q.err = ErrLate
	case child.ended != endedWell:
		q.err = Status(child.ended)
	}
	if q.out != nil {
		q.loop.Schedule(evloop.Timer{Deadline: q.loop.Now().Add(restTimeout), Conn: q.out.ID(), Handler: q})
	}
	q.finish()
}

// finish passes the answer on when all of it is there.
func (q *Question) finish() {
	f := q.answered
	if q.child != nil || q.out != nil || f == nil {
		return
	}
	q.answered = nil
	if q.long && q.err == nil {
		q.err = fmt.Errorf("more than %d bytes", mostAnswer)
	}
	f(q.text, q.err)
}

// answer is the program's output.
type answer struct {
	evloop.Base
	q *Question
}

func (a answer) Data(_ *evloop.Conn, b []byte) int {
	n := min(len(b), mostAnswer-len(a.q.text))
	a.q.text = append(a.q.text, b[:n]...)
	a.q.long = a.q.long || n < len(b)
	return len(b)
}

// Closed is called when the program has closed its output. When the loop is closed nobody
// hears the answer.
func (a answer) Closed(_ *evloop.Conn, err error) {
	q := a.q
	q.out = nil
	if err == evloop.ErrLoopClosed {
		q.answered = nil
		if q.child != nil {
			q.child.Lose()
		}
		return
	}
	if q.err == nil && err != evloop.ErrAborted {
		q.err = err
	}
	q.finish()
}
