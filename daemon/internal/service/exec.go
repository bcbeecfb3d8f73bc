// SPDX-License-Identifier: Apache-2.0

package service

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/process"
	"penstock/daemon/internal/view"
	"penstock/evloop"
)

// An exec runs a program for each client, as inetd does: a job. What the program has as
// its standard input and output is the key "io".
//
// pipes (exec_pipes.go): the bytes go through the loop, so that queues, timeouts and
// counters hold, and the program may end before its client has read.
//
//	client ──► Data ──► pipe ──► program ──► pipe ──► Data ──► client
//	  ▲                  │ full               ▲                  │ full
//	  └───── Pause ◄─────┘                    └───── Pause ◄─────┘
//
// socket: the program has the client's connection itself. The loop lends it
// (evloop.Conn.Lend), so that it still counts, and the loop ends it in order after the
// program.
//
// No more than max_children jobs are under way, those whose output has yet to be taken
// counted. Then further clients stay in the backlog. Some that were accepted at the same
// moment, or by a listener that came since, wait here, behind no one that came later.
//
//	Open ──► waiting ──► launched ──► the program has ended, the pipes are closed ──► done
type exec struct {
	conf    *config.Service
	keys    *config.Exec
	env     Env
	times   process.Times   // of the programs; zero: the usual ones
	opts    *evloop.Options // of pipes to and from them
	jobs    map[*job]struct{}
	waiting []evloop.ConnID // in the order in which they came
	turn    evloop.Time     // in which a program was last started
	begun   int             // programs in that turn
	goesOn  bool            // a timer goes on with those that wait
	ended   func()          // once the service has stopped and no job is left

	unstarted bool // the last program could not be started
}

// A job is a client and its program: Session.Data of the client, and State of the pipes.
type job struct {
	s      *exec
	client *evloop.Conn   // nil: gone
	child  *process.Child // nil: it waits for its turn, or its program has ended
	in     *evloop.Conn   // the program's input, our end; nil: closed, or io is a socket
	out    *evloop.Conn   // its output

	socket  bool   // the program has the client's connection
	failed  error  // why the program was not executed
	leaving bool   // the service ends
	deaf    bool   // and the program has been given the end of its input for that reason
	rest    []byte // of a leaving client, for which the pipe has no room yet
}

func jobOf(c *evloop.Conn) *job { return SessionOf(c).Data.(*job) }

func newExec(conf *config.Service, env Env) *exec {
	s := &exec{env: env, jobs: make(map[*job]struct{})}
	s.Adjust(conf)
	return s
}

// Adjust takes another command, for clients that come from now on, or another bound.
func (s *exec) Adjust(conf *config.Service) {
	before := s.keys
	s.conf, s.keys = conf, conf.Of.(*config.Exec)
	if before != nil && !slices.Equal(before.Command, s.keys.Command) {
		s.noteStart(nil) // nobody has tried that one
	}
	// Nothing is read from a client whose program takes nothing, so it may be gone.
	s.opts = &evloop.Options{Queue: conf.Queue, Overflow: evloop.Disconnect, StallTimeout: conf.IdleTimeout}
	if conf.IdleTimeout == 0 {
		s.opts.StallTimeout = takeTimeout
	}
	s.next()
}

// Adjusted has nothing to do: a client keeps its program and its pipes.
func (*exec) Adjusted(*evloop.Conn) {}

// Bound sets what differs from other kinds, as for a proxy.
func (s *exec) Bound(o *evloop.Options) { o.Overflow, o.MaxInput = evloop.Disconnect, 0 }

// Stop waits for the programs of clients that are gone. When the loop is closed they are
// told to end, and nobody waits.
func (s *exec) Stop(ended func()) {
	if !s.env.Loop.Post(func() {}) {
		for j := range s.jobs {
			j.lose()
		}
		return
	}
	s.ended = ended
	s.rested()
}

// rested tells of the end of a service that has stopped.
func (s *exec) rested() {
	if f := s.ended; f != nil && len(s.jobs) == 0 {
		s.ended = nil
		f()
	}
}

// Open starts the program of a client, or has it wait for its turn.
func (s *exec) Open(c *evloop.Conn) {
	j := &job{s: s, client: c, socket: s.keys.IO == config.IOSocket}
	SessionOf(c).Data = j
	c.Pause()
	if j.socket {
		if err := c.Lend(); err != nil {
			c.Abort(err)
			return
		}
	}
	s.waiting = append(s.waiting, c.ID())
	s.next()
}

// mostBegun is how many programs are started in a turn of the loop. To start one takes 25
// to 60 microseconds, and longer where the new process is the first to go on.
const mostBegun = 4

// next starts programs for the clients whose turn it is. One that has left meanwhile has
// none. The others wait, and those in the backlog too, when all places are taken or this
// turn of the loop has started enough.
func (s *exec) next() {
	for len(s.waiting) > 0 && len(s.jobs) < s.keys.MaxChildren && s.mayBegin() {
		c := s.env.Loop.Conn(s.waiting[0])
		s.waiting = s.waiting[1:]
		if c != nil && !c.Closing() {
			s.begun++
			jobOf(c).launch()
		}
	}
	s.env.Hold(len(s.waiting) > 0 || len(s.jobs) >= s.keys.MaxChildren)
}

// mayBegin reports whether this turn of the loop may start one more program. If not, the
// next turn goes on.
func (s *exec) mayBegin() bool {
	l := s.env.Loop
	if now := l.Now(); s.turn != now {
		s.turn, s.begun = now, 0
	}
	if s.begun < mostBegun {
		return true
	}
	if !s.goesOn {
		s.goesOn = true
		l.Schedule(evloop.Timer{Deadline: s.turn, Handler: (*nextTurn)(s)})
	}
	return false
}

// nextTurn is the exec as the handler of a timer that is due at once.
type nextTurn exec

// Expired goes on with the clients that wait.
func (n *nextTurn) Expired(*evloop.Loop, evloop.Timer) {
	n.goesOn = false
	(*exec)(n).next()
}

// launch starts the program.
func (j *job) launch() {
	s := j.s
	s.jobs[j] = struct{}{}
	var err error
	if j.socket {
		err = j.spawnOnSocket()
	} else {
		err = j.spawnOnPipes()
	}
	if err != nil {
		s.env.Log.ClientProgramNotStarted(s.keys.Command[0], err)
		s.noteStart(err)
		delete(s.jobs, j)
		j.client.CloseAfterFlush(goodbyeTimeout, ErrNotStarted)
	}
}

// noteStart has the status say whether the last program was started: nil, or why not.
func (s *exec) noteStart(failed error) {
	if s.unstarted != (failed != nil) {
		s.unstarted = !s.unstarted
		s.env.Changed()
	}
}

// View says whether the program can be started.
func (s *exec) View(v *view.Service) { v.Unstarted = s.unstarted }

// spawnOnSocket starts the program with the client's connection. Programs expect calls
// that wait. The loop has no use for the flag on a socket: its own calls never wait.
func (j *job) spawnOnSocket() error {
	fd := j.client.FD()
	if err := unix.SetNonblock(fd, false); err != nil {
		return err
	}
	return j.spawn(fd, fd)
}

func (j *job) spawn(in, out int) (err error) {
	s, session := j.s, SessionOf(j.client)
	j.child, err = process.Spawn(s.env.Loop, s.env.Log.Of(session.ID), process.Task{
		Argv:   s.keys.Command,
		Around: process.Surroundings{Env: s.environment(j.client), Directory: s.keys.Directory},
		In:     in, Out: out,
		Times: s.times,
	}, j.over)
	return err
}

// over is called when the program has ended. failed says that it never began.
func (j *job) over(failed error) {
	j.child, j.failed = nil, failed
	j.s.noteStart(failed)
	j.endPipes()
	if j.out == nil {
		j.finish()
	}
	j.settle()
}

// finish ends the client, which gets what is on its way to it. If the service ends, the
// time that Drain has set goes on.
func (j *job) finish() {
	if j.client == nil {
		return
	}
	var reason error
	switch {
	case j.failed != nil:
		reason = ErrNotStarted
	case j.deaf:
		reason = j.unheard(0)
	}
	j.client.CloseAfterFlush(untilStalled, reason)
}

// unheard logs what the client has said and its program will not get, because the service
// ends: waiting bytes that were read, and all that was not. A program that has the
// connection itself could have read it.
func (j *job) unheard(waiting int) error {
	c := j.client
	if j.socket || c.Closing() {
		return nil
	}
	return unheard(j.s.env.Log, c, waiting)
}

// settle gives the place to the next client when the job is done.
func (j *job) settle() {
	s := j.s
	if _, under := s.jobs[j]; !under || j.child != nil || j.in != nil || j.out != nil {
		return
	}
	delete(s.jobs, j)
	s.next()
	s.rested()
}

// Data passes on what the client says, as far as the program takes it.
func (*exec) Data(c *evloop.Conn, b []byte) int {
	in := jobOf(c).in
	if in == nil || in.Closing() {
		return len(b) // a program that has closed its input wants no more
	}
	return pass(c, in, b)
}

// EOF ends the program's input.
func (*exec) EOF(c *evloop.Conn) {
	jobOf(c).endInput()
}

// Drained has the program go on to speak.
func (*exec) Drained(c *evloop.Conn) {
	if out := jobOf(c).out; out != nil {
		out.Resume()
	}
}

// Drain ends the program's input, and gives it the time timeout to end, and its client
// to take what it says.
func (s *exec) Drain(c *evloop.Conn, left []byte, timeout time.Duration) {
	j := jobOf(c)
	switch {
	case c.Closing(): // it has had all of the output
		c.CloseAfterFlush(timeout, nil)
		return
	case j.child == nil && j.out == nil: // it waits for its turn, which does not come
		_ = unheard(s.env.Log, c, len(left))
		c.CloseAfterFlush(timeout, ErrUnanswered)
		return
	}
	c.Pause()
	j.leaving, j.rest = true, slices.Clone(left) // left is the loop's
	if j.socket {
		_ = unix.Shutdown(c.FD(), unix.SHUT_RD) // the program reads what has come, then the end
	} else {
		j.passRest()
	}
	if j.child != nil { // nil: the rest of its output is on its way
		j.child.Stop(timeout)
	}
	l := s.env.Loop
	l.Schedule(evloop.Timer{Deadline: l.Now().Add(timeout), Conn: c.ID(), Handler: s})
}

// Expired ends a client whose program has not ended in time, or that has not taken all
// of its output.
func (*exec) Expired(l *evloop.Loop, t evloop.Timer) {
	c := l.Conn(t.Conn)
	j := jobOf(c)
	waiting := len(j.rest)
	if j.in != nil {
		waiting += j.in.Queued()
	}
	_ = j.unheard(waiting)
	c.CloseAfterFlush(0, ErrUnanswered)
}

// Closed has the program of a client that is gone end: by the end of its input, by
// SIGPIPE, by SIGTERM, by SIGKILL.
func (s *exec) Closed(c *evloop.Conn, err error) {
	j := jobOf(c)
	j.client = nil
	switch {
	case err == evloop.ErrLoopClosed:
		j.lose()
	case j.child != nil || j.out != nil:
		j.abandon()
	default:
		s.waiting = slices.DeleteFunc(s.waiting, func(id evloop.ConnID) bool { return id == c.ID() })
	}
}

// lose is called when the loop is closed.
func (j *job) lose() {
	if j.child != nil {
		j.child.Lose()
		j.child = nil
	}
	delete(j.s.jobs, j)
}

// abandon ends what works for a client that is gone.
func (j *job) abandon() {
	j.endInput()
	if j.out != nil {
		j.out.Abort(nil)
	}
	if j.child != nil {
		j.child.Abandon()
	}
}
