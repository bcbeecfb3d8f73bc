// SPDX-License-Identifier: Apache-2.0

package process

import (
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/report"
	"penstock/evloop"
)

// A Program is a process that runs for as long as it is wanted, and is started
// again when it ends. Loop goroutine only.
type Program struct {
	argv []string // of the last attempt
	loop *evloop.Loop
	log  *report.Service
	user Audience

	// Times may be changed before Start.
	Times Times
	// Raw takes the output as it comes, in place of Deliver and Overlong. Waits is called
	// when a program has ended or was not started, and a next attempt is to come. They
	// may be set before Start, and be nil.
	Raw   func(p []byte)
	Waits func()

	// Around may be set before Start, and changed by Surround.
	Around Surroundings
	moved  bool // it was changed since the last Renew

	life    life
	wanted  []string      // argv of the next attempt
	renewed bool          // the last attempt has to make room for it
	grace   time.Duration // that the present one has for its end, if that is more than Times.HangUp
	back    backOff
	timer   evloop.TimerID // of the state
	failure error          // why it was not started
	over    func()         // called at the end, once it is not wanted

	pid           int   // not reaped yet; 0: none
	number        int   // of the last process, for the log
	pipes         pipes // those of one that is launching
	in, out, errs *evloop.Conn
	began         evloop.Time   // of a program that runs
	ran           time.Duration // how long the last process ran; 0: it never did
	status        string        // how it ended

	lines  lineReader // of stdout
	spoken speaker    // of stderr
}

// An Audience is what a program works for: a handler and its clients. Loop
// goroutine only.
type Audience interface {
	Size() int                       // how many clients there are
	Proceed()                        // the program takes input
	Deliver(line []byte)             // a line of its output, without the LF
	Overlong(head []byte, bytes int) // the beginning of one that was too long
	Gone() (unanswered int)          // it has ended, and all its output was delivered; returns how many messages it has not answered
}

// Times are the waits in a program's life. Tests make them shorter.
type Times struct {
	First, Most time.Duration // wait before it is started again, doubled each time
	Stable      time.Duration // after so long a run the wait begins at First again
	HangUp      time.Duration // from closing stdin to SIGTERM, and from there to SIGKILL
	Rest        time.Duration // for output that a dead program's children hold open
}

var usualTimes = Times{time.Second, 30 * time.Second, time.Minute, 2 * time.Second, time.Second}

// maxReply is how many bytes a line of stdout may have.
const maxReply = 1 << 20

// New returns a program that is not running yet. argv[0] is the path of its file.
func New(argv []string, loop *evloop.Loop, log *report.Service, user Audience) *Program {
	return &Program{
		argv: argv, wanted: argv, loop: loop, log: log, user: user,
		Times:  usualTimes,
		lines:  lineReader{max: maxReply},
		spoken: newSpeaker(log),
	}
}

// Start has the program run, and does not wait for it.
func (p *Program) Start() {
	p.back = backOff{first: p.Times.First, most: p.Times.Most, stable: p.Times.Stable}
	p.advance(start)
}

// Stop ends the program and does not start it again. Lines that are queued for it are
// still written. ended is called when it has ended, and at once if it had before.
func (p *Program) Stop(ended func()) {
	switch before := p.over; {
	case p.life.state == over:
		ended()
		return
	case before == nil:
		p.over = ended
	default:
		p.over = func() {
			before()
			ended()
		}
	}
	p.advance(stop)
}

// StopWithin is Stop for a program that has the time grace to answer what it has got.
func (p *Program) StopWithin(grace time.Duration, ended func()) {
	p.grace = grace
	p.Stop(ended)
}

// Renew has another argv run in place of the present one. A program that runs is asked
// to end, as by Stop, and has the time grace to answer what it has got; the next one
// starts at once after it. Renew has no effect if argv and the surroundings are the
// same.
func (p *Program) Renew(argv []string, grace time.Duration) {
	if slices.Equal(argv, p.wanted) && !p.moved {
		return
	}
	p.wanted, p.grace, p.moved = argv, grace, false
	switch p.life.state {
	case idle, over:
	case waiting:
		p.schedule(0)
	case running:
		p.renewed = true
		p.advance(hangup)
	default: // it makes room once it runs, or is about to
		p.renewed = true
	}
}

// Starting reports whether it is not known yet whether the program runs, or whether one
// is about to take its place.
func (p *Program) Starting() bool {
	return p.renewed || p.life.state == idle || p.life.state == starting || p.life.state == launching
}

// Ready reports whether the program takes a line now.
func (p *Program) Ready() bool { return p.Running() && !p.in.Full() }

// Running reports whether there is a program that listens. What is written to one that
// has ended would be lost, while the next one can still answer it.
func (p *Program) Running() bool { return p.life.state == running && p.in != nil && !p.in.Closing() }

// Alive reports whether there is a program that has not been asked to end. It may have
// closed its input.
func (p *Program) Alive() bool { return p.life.state == running }

// Unstarted reports whether the last attempt to start it has failed. The clients are told
// nothing of it: they wait for the next one.
func (p *Program) Unstarted() bool { return p.life.state == waiting && p.failure != nil }

// Write sends bytes to a program that is ready. A program that reads lines wants whole
// ones.
func (p *Program) Write(line []byte) { p.in.Write(line) }

// PauseOutput has the program wait with what it says until ResumeOutput.
func (p *Program) PauseOutput() {
	if p.out != nil {
		p.out.Pause()
	}
}

// ResumeOutput goes on to read what the program says.
func (p *Program) ResumeOutput() {
	if p.out != nil {
		p.out.Resume()
	}
}

// advance takes a step of the life and carries out its effects.
func (p *Program) advance(t trigger) {
	next, do := step(p.life, t)
	p.life = next
	if do&(doFork|doLaunch|doAbandon) != 0 {
		p.begin(do)
	}
	if do&(doTerm|doKill|doReap) != 0 {
		p.end(do)
	}
	if do&doAdopt != 0 && !p.adopt() {
		do &^= doGreet
	}
	if do&doGreet != 0 {
		p.log.ProgramStarted(p.number, p.argv[0]) // it may have been reaped
		switch {
		case !p.Alive():
		case p.renewed:
			p.advance(hangup) // it has got nothing yet
		default:
			p.user.Proceed()
		}
	}
	if do&doAsk != 0 {
		p.ask()
	}
	if do&doRest != 0 {
		p.schedule(p.Times.Rest)
		p.hear()
	}
	if do&doBury != 0 {
		p.bury()
	}
	if do&doComplain != 0 {
		p.log.ProgramNotStarted(p.argv[0], p.failure)
	}
	if do&doWait != 0 {
		p.wait()
		if p.Waits != nil {
			p.Waits()
		}
	}
	if do&doEnd != 0 {
		p.loop.Cancel(p.timer)
		p.over()
	}
}

// begin does what the beginning of a process needs.
func (p *Program) begin(do effect) {
	if do&doFork != 0 {
		p.ran = 0
		p.fork()
	}
	if do&doLaunch != 0 {
		p.launch()
	}
	if do&doAbandon != 0 {
		closeAll(p.pipes.ours()...)
	}
}

// end does what the end of a process needs.
func (p *Program) end(do effect) {
	if do&doTerm != 0 {
		p.signal(unix.SIGTERM)
		p.schedule(p.Times.HangUp)
	}
	if do&doKill != 0 {
		p.signal(unix.SIGKILL)
		p.schedule(p.Times.HangUp)
	}
	if do&doReap != 0 {
		p.status = reap(p.pid)
		p.pid = 0
	}
}

// ask closes the program's input.
func (p *Program) ask() {
	patience := max(p.Times.HangUp, p.grace)
	if p.in != nil {
		p.in.CloseAfterFlush(patience, nil)
	}
	p.schedule(patience)
}

// wait sets the timer for the next attempt. That another argv is wanted says nothing
// against that one.
func (p *Program) wait() {
	if p.renewed {
		p.back.last = 0
		p.schedule(0)
		return
	}
	p.schedule(p.back.next(p.ran))
}

// hear advances the life if all output of the program was read. Its last lines often say
// why it has died, and the loop may need more turns to read them than to learn of the
// end.
func (p *Program) hear() {
	if p.out == nil && p.errs == nil {
		p.advance(silent)
	}
}

// bury counts and logs the end of a process of the program.
func (p *Program) bury() {
	p.loop.Cancel(p.timer)
	for _, c := range []*evloop.Conn{p.in, p.out, p.errs} {
		if c != nil {
			c.Abort(nil)
		}
	}
	p.in, p.out, p.errs = nil, nil, nil
	p.saidAll()
	p.spoken.end()
	p.ran = p.loop.Now().Sub(p.began)
	p.log.ProgramEnded(p.status, p.life.unwanted || p.renewed, p.user.Gone(), p.ran)
}

// schedule arms the one timer, that of the state.
func (p *Program) schedule(after time.Duration) {
	p.loop.Cancel(p.timer)
	p.timer = p.loop.Schedule(evloop.Timer{Deadline: p.loop.Now().Add(after), Handler: p})
}

// Expired goes on with the program's life.
func (p *Program) Expired(*evloop.Loop, evloop.Timer) { p.advance(due) }

// signal sends sig to the program and the processes that it has started. It must be
// called only while the process is not reaped.
func (p *Program) signal(sig unix.Signal) {
	if p.pid != 0 {
		signalGroup(p.log, p.pid, sig)
	}
}

// signalGroup sends sig to the process group that pid leads. pid must not be reaped, so
// there is no such group only if the process is new and has not made it yet: then it is
// alone.
func signalGroup(log *report.Service, pid int, sig unix.Signal) {
	err := unix.Kill(-pid, sig)
	if err == unix.ESRCH {
		err = unix.Kill(pid, sig)
	}
	if err != nil && err != unix.ESRCH {
		log.SignalFailed(unix.SignalName(sig), os.NewSyscallError("kill", err))
	}
}

// reap kills the rest of the program's process group and takes its status. The process
// is a zombie, so the calls cannot block, and the number cannot be another's.
func reap(pid int) (status string) {
	_ = unix.Kill(-pid, unix.SIGKILL)
	defer func() {
		programs.Lock()
		delete(programs.pids, pid)
		programs.Unlock()
	}()
	var ws unix.WaitStatus
	_, err := unix.Wait4(pid, &ws, 0, nil)
	for err == unix.EINTR {
		_, err = unix.Wait4(pid, &ws, 0, nil)
	}
	if err != nil {
		return os.NewSyscallError("wait4", err).Error()
	}
	if ws.Signaled() {
		return "signal: " + ws.Signal().String()
	}
	return "exit status " + strconv.Itoa(ws.ExitStatus())
}
