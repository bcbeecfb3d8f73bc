// SPDX-License-Identifier: Apache-2.0

package process

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/report"
	"penstock/evloop"
)

// A Child is a process that works for one client, and is not started again. Its life is
// shorter than that of a Program, for it begins with the fork:
//
//	            Stop           due            due
//	working ─────────► asked ────────► termed ────────► killed ──┐ due: again
//	   │ exited          │ exited        │ exited        │ ▲─────┘
//	   └─────────────────┴───────┬───────┴───────────────┘ exited
//	                             ▼      stderr is read, or due
//	                            gone ──────────────────────────► over
//
// The loop hears of the end by the process's pidfd. A goroutine that waits for it, as
// a Program has one, would be a thread for each client.
//
// Its standard input and output are its client's business: what is asked of it with
// Stop the caller has said by their end.
type Child struct {
	loop    *evloop.Loop
	log     *report.Service
	command string
	times   Times
	quiet   bool
	over    func(failed error)

	state  childState
	timer  evloop.TimerID
	pid    int // 0: reaped
	number int // for the log
	pidfd  int
	exit   *evloop.Watch
	image  *image // nil: reaped
	failed error
	ended  string // its status
	began  evloop.Time
	errs   *evloop.Conn // nil: all was read
	spoken speaker
}

type childState uint8

const (
	working childState = iota
	askedChild
	termedChild
	killedChild
	goneChild
	overChild
)

// A Task is what a Child is started for.
type Task struct {
	Argv    []string // Argv[0] is the path of its file
	Around  Surroundings
	In, Out int   // its standard input and output, which stay the caller's
	Times   Times // the zero value means the usual ones
	Quiet   bool  // its start and its end are no news: its caller says what has come of it
}

// Spawn starts a child. over is called once it has ended, and its error output was read.
// failed says why it was not executed, if that is so. An error means that there is none,
// and over is not called. Its error output goes to log.
func Spawn(loop *evloop.Loop, log *report.Service, task Task, over func(failed error)) (*Child, error) {
	c := &Child{
		loop: loop, log: log, command: task.Argv[0], times: task.Times, quiet: task.Quiet, over: over,
		pidfd: -1, began: loop.Now(), spoken: newSpeaker(log),
	}
	if c.times == (Times{}) {
		c.times = usualTimes
	}
	var errs [2]int // error output
	if err := unix.Pipe2(errs[:], unix.O_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	err := c.fork(task, errs[1])
	closeAll(errs[1])
	if err != nil {
		closeAll(errs[0])
		return nil, err
	}
	c.hear(errs[0])
	if !c.quiet {
		c.log.ClientProgramStarted(c.number, c.command)
	}
	return c, nil
}

// fork starts the process, and begins to watch for its end.
func (c *Child) fork(task Task, errs int) (err error) {
	if c.image, err = newImage(task.Argv, task.Around, [3]int{task.In, task.Out, errs}); err != nil {
		return err
	}
	programs.Lock()
	c.pid, c.pidfd, err = c.image.fork()
	if err == nil {
		programs.pids[c.pid] = c.image
	}
	programs.Unlock()
	if err != nil {
		return err
	}
	c.number = c.pid
	if c.pidfd >= 0 {
		if c.exit, err = c.loop.Watch(c.pidfd, unix.EPOLLIN, exitWatch{c}); err == nil {
			return nil
		}
	}
	go c.await(c.pid)
	return nil
}

// await tells the loop of the end where no pidfd can.
func (c *Child) await(pid int) {
	if err := awaitEnd(pid); err != nil {
		c.log.ProgramUnseen(pid, err)
	}
	c.loop.PostOr(c.exited, func() { reap(pid) })
}

// hear has the loop read the error output, whose descriptor it owns from now on.
func (c *Child) hear(fd int) {
	conn, err := c.loop.AddOwn(fd, childErrors{c: c}, nil)
	if err != nil { // out of memory or of watches: the child can work without
		closeAll(fd)
		c.log.PipeFailed("stderr", err)
		return
	}
	c.errs = conn
}

// Stop ends the child, which has the time grace to end by itself. A second call sets
// another time, as long as it was not sent a signal.
func (c *Child) Stop(grace time.Duration) {
	if c.state <= askedChild {
		c.state = askedChild
		c.schedule(grace)
	}
}

// Abandon is Stop for a child whose client is gone.
func (c *Child) Abandon() { c.Stop(c.times.HangUp) }

// Failed says why the child was not executed. It is nil as long as that is not known.
func (c *Child) Failed() error {
	if c.failed == nil && c.image != nil {
		c.failed = c.image.failure()
	}
	return c.failed
}

// Lose is for a child that is left when the loop is closed: it is told to end, and
// nobody hears of it. It may be called more than once.
func (c *Child) Lose() {
	if c.state == overChild {
		return
	}
	c.state = overChild
	watched := c.exit != nil
	c.closePidfd()
	if c.pid != 0 {
		signalGroup(c.log, c.pid, unix.SIGTERM)
		if watched { // otherwise somebody waits for it already
			go c.await(c.pid)
		}
		c.pid = 0
	}
}

// closePidfd ends the watch of the process.
func (c *Child) closePidfd() {
	if c.exit != nil {
		c.exit.Close()
		c.exit = nil
	}
	if c.pidfd >= 0 {
		closeAll(c.pidfd)
		c.pidfd = -1
	}
}

// exitWatch hears of the end.
type exitWatch struct{ c *Child }

// Ready is called when the process is a zombie.
func (e exitWatch) Ready(*evloop.Watch, uint32) { e.c.exited() }

// exited takes the status of a process that has ended, and waits for its last words.
func (c *Child) exited() {
	if c.state >= goneChild {
		return
	}
	c.state = goneChild
	c.ended = reap(c.pid)
	c.pid = 0
	c.failed = c.Failed()
	c.image = nil
	c.closePidfd()
	if c.errs == nil {
		c.finish()
		return
	}
	c.schedule(c.times.Rest) // its children may hold it open
}

// endedWell is the status of a program that has done its work.
const endedWell = "exit status 0"

// finish is the end.
func (c *Child) finish() {
	c.state = overChild
	c.loop.Cancel(c.timer)
	if errs := c.errs; errs != nil {
		c.errs = nil
		errs.Abort(nil)
	}
	c.spoken.end()
	switch {
	case c.quiet:
	case c.failed != nil:
		c.log.ClientProgramNotStarted(c.command, c.failed)
	default:
		c.log.ClientProgramEnded(c.number, c.ended, c.ended == endedWell, c.loop.Now().Sub(c.began))
	}
	c.over(c.failed)
}

func (c *Child) schedule(after time.Duration) {
	c.loop.Cancel(c.timer)
	c.timer = c.loop.Schedule(evloop.Timer{Deadline: c.loop.Now().Add(after), Handler: c})
}

// Expired takes the next step.
func (c *Child) Expired(*evloop.Loop, evloop.Timer) {
	switch c.state {
	case askedChild:
		c.state = termedChild
		signalGroup(c.log, c.pid, unix.SIGTERM)
	case termedChild, killedChild: // again while it is there: it may have the rights of another user
		c.state = killedChild
		signalGroup(c.log, c.pid, unix.SIGKILL)
	case goneChild:
		c.finish()
		return
	default:
		return
	}
	c.schedule(c.times.HangUp)
}

// childErrors is the error output of a child.
type childErrors struct {
	evloop.Base
	c *Child
}

// Data passes lines on to the operator, a portion in a turn.
func (e childErrors) Data(conn *evloop.Conn, b []byte) int {
	return e.c.spoken.hear(conn, b)
}

// Closed does not end the child: it can work without.
func (e childErrors) Closed(conn *evloop.Conn, err error) {
	c := e.c
	if c.errs != conn {
		return
	}
	c.errs = nil
	switch {
	case err == evloop.ErrLoopClosed:
		c.Lose()
	case c.state == goneChild:
		c.finish()
	}
}
