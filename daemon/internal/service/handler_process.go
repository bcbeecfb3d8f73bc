// SPDX-License-Identifier: Apache-2.0

package service

import (
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/report"
	"penstock/evloop"
)

// A program is a process that runs for as long as its service, and is started
// again when it ends.
//
//	        start          launched            adopt             exited, output read
//	idle ─────────► starting ─────► launching ───────► running ────────────────────► waiting
//	                   │ error       │ error, or        │ stop, or it closed           │  ▲
//	                   └──────┬──────┘ stop: SIGKILL    │ stdin or stdout              │  │
//	                          ▼                         ▼                              │  │
//	                       waiting                    hung up: stdin closed, then      │  │
//	                                                  SIGTERM, then SIGKILL ───────────┼──┘
//	                                                                                   ▼
//	                                              starting again, 1 s, 2 s, … 30 s later
//
// How the process becomes the program is in handler_start.go. Only two things
// are done by a goroutine, since both block: to start the process and to wait
// for its end. The wait leaves the zombie (WNOWAIT, see
// waitid(2)): until the loop has reaped it, nobody else can get its number, so
// that a signal from the loop never hits a stranger. os/exec would reap behind
// our back, wrap each pipe in an *os.File with a finalizer, and copy through
// goroutines.
type program struct {
	argv []string
	loop *evloop.Loop
	log  *report.Service
	user audience
	pace pace

	pid           int          // not reaped yet; 0: none
	in, out, errs *evloop.Conn // nil: closed
	began         evloop.Time
	status        string // how it ended
	delay         time.Duration
	timer         evloop.TimerID
	starting      bool   // a goroutine is in ForkExec
	launching     bool   // the stub has not yet become the program
	pipes         pipes  // those of a program that is launching
	failure       error  // why the stub will not become the program
	hung          bool   // hangUp was called
	stopped       bool   // not to be started again
	over          func() // called at the end of a stopped program

	lines, spoken lineReader // of stdout and stderr
}

// An audience is what a program works for: a handler and its clients. Loop
// goroutine only.
type audience interface {
	size() int                       // how many clients there are
	proceed()                        // the program takes input
	deliver(line []byte)             // a line of its output, without the LF
	overlong(head []byte, bytes int) // the beginning of one that was too long
	gone() (unanswered int)          // it has ended, and all it said was delivered; how many messages it took with it
}

// pace holds the times of a program's life; tests are in a hurry.
type pace struct {
	first, most time.Duration // wait before it is started again, doubled each time
	stable      time.Duration // after so long a run the wait begins at first again
	hangUp      time.Duration // from closing stdin to SIGTERM, and from there to SIGKILL
	rest        time.Duration // for output that a dead program's children hold open
}

var usualPace = pace{time.Second, 30 * time.Second, time.Minute, 2 * time.Second, time.Second}

const (
	maxReply  = 1 << 20 // bytes of a line of stdout
	maxSpoken = 1 << 10 // bytes of a line of stderr
)

// pipeOptions bound what waits for the program. Pause is the policy that never
// drops; the handler looks at Full before it writes. The pipes are exempt from
// paying for the bound over all clients: a few hundred of them could fill it,
// and their program would die for it.
var pipeOptions = &evloop.Options{Queue: 64 << 10, LowWater: 32 << 10, Exempt: true}

func newProgram(argv []string, env Env, user audience) *program {
	return &program{
		argv: argv, loop: env.Loop, log: env.Log, user: user, pace: usualPace,
		lines:  lineReader{max: maxReply},
		spoken: lineReader{max: maxSpoken},
	}
}

// ready reports whether the program takes a line now.
func (p *program) ready() bool { return p.running() && !p.in.Full() }

// running reports whether there is a program that listens.
func (p *program) running() bool { return p.in != nil && !p.in.Closing() }

// write sends a line, which must end in LF, to a program that is ready.
func (p *program) write(line []byte) { p.in.Write(line) }

// start begins a life of the program.
func (p *program) start() {
	if p.stopped || p.starting {
		return
	}
	pipes, err := openPipes()
	if err != nil {
		p.notStarted(err)
		return
	}
	p.starting = true
	go p.launch(pipes)
}

// launch runs on its own goroutine from the start of the process to its end.
func (p *program) launch(pipes pipes) {
	pid, err := p.fork(pipes)
	closeAll(pipes.theirs()...)
	if !p.loop.Post(func() { p.launched(pid, err, pipes) }) {
		closeAll(append(pipes.ours(), pipes.status[0])...)
	}
	if err != nil {
		return
	}
	if err := awaitEnd(pid); err != nil {
		p.log.ProgramUnseen(pid, err)
	}
	if !p.loop.Post(p.exited) {
		reap(pid) // the daemon is on its way out
	}
}

// awaitEnd waits for the end of a child, and leaves it a zombie.
func awaitEnd(pid int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return os.NewSyscallError("waitid", err)
		}
	}
}

// launched takes over a process that has yet to become the program.
func (p *program) launched(pid int, err error, pipes pipes) {
	p.starting = false
	if err != nil {
		closeAll(append(pipes.ours(), pipes.status[0])...)
		p.notStarted(err)
		return
	}
	p.pid, p.hung, p.status, p.failure = pid, false, "", nil
	p.pipes, p.launching = pipes, true
	if _, err := p.loop.Add(pipes.status[0], execStatus{p: p}, nil); err != nil { // out of memory or of watches
		closeAll(pipes.status[0])
		p.failure = err
		execStatus{p: p}.Closed(nil, nil)
	}
	if p.stopped {
		p.hangUp()
	}
}

// adopt begins to talk with a program that runs.
func (p *program) adopt() {
	p.began = p.loop.Now()
	handlers := []evloop.Handler{stdin{p: p}, stdout{p: p}, stderr{p: p}}
	conns := []**evloop.Conn{&p.in, &p.out, &p.errs}
	for i, fd := range p.pipes.ours() {
		c, err := p.loop.Add(fd, handlers[i], nil)
		if err != nil { // out of memory or of watches
			closeAll(p.pipes.ours()[i:]...)
			p.log.ProgramNotStarted(p.argv[0], err)
			p.hangUp()
			return
		}
		*conns[i] = c
		c.SetOptions(pipeOptions)
	}
	if p.stopped {
		return // killed before it could hear anything
	}
	p.log.ProgramStarted(p.pid, p.argv[0])
	p.user.proceed()
}

// notStarted tries again later: the file may be on its way, or the system
// short of processes for a moment.
func (p *program) notStarted(err error) {
	p.log.ProgramNotStarted(p.argv[0], err)
	p.again(0)
}

// again starts the program anew after a while, unless it is not wanted.
func (p *program) again(ran time.Duration) {
	if p.stopped {
		p.loop.Cancel(p.timer)
		p.over()
		return
	}
	if ran >= p.pace.stable {
		p.delay = 0
	}
	p.delay = min(max(2*p.delay, p.pace.first), p.pace.most)
	p.schedule(timerRestart, p.delay)
}

// stop ends the program and does not start it again. What is queued for it is
// still written. over is called when it has ended.
func (p *program) stop(over func()) {
	if p.stopped {
		return
	}
	p.stopped, p.over = true, over
	if p.pid == 0 && p.out == nil && p.errs == nil && !p.starting && !p.launching {
		p.loop.Cancel(p.timer) // it would have been started again
		over()
		return
	}
	p.hangUp()
}

// hangUp closes stdin, which is the polite way to say that it is over, and
// becomes more explicit with time.
func (p *program) hangUp() {
	if p.pid == 0 || p.hung {
		return
	}
	p.hung = true
	if p.launching { // it has been told nothing, and nothing is lost
		p.kill()
		return
	}
	if p.in != nil {
		p.in.CloseAfterFlush(p.pace.hangUp, nil)
	}
	p.schedule(timerTerm, p.pace.hangUp)
}

// Kinds of the one timer.
const (
	timerRestart = iota
	timerTerm
	timerKill
	timerRest
)

func (p *program) schedule(kind int, after time.Duration) {
	p.loop.Cancel(p.timer)
	p.timer = p.loop.Schedule(evloop.Timer{Deadline: p.loop.Now().Add(after), Kind: kind, Handler: p})
}

// Expired goes on with the program's life.
func (p *program) Expired(_ *evloop.Loop, t evloop.Timer) {
	switch t.Kind {
	case timerRestart:
		p.start()
	case timerTerm:
		p.signal(unix.SIGTERM)
		p.schedule(timerKill, p.pace.hangUp)
	case timerKill:
		p.kill()
	case timerRest:
		p.ended()
	}
}

// kill ends the program, and tries again while it is there: it may have the rights
// of another user.
func (p *program) kill() {
	if p.pid != 0 {
		p.signal(unix.SIGKILL)
		p.schedule(timerKill, p.pace.hangUp)
	}
}

// signal reaches the program and what it has started. It is only called while
// pid is ours.
func (p *program) signal(sig unix.Signal) {
	if p.pid == 0 {
		return
	}
	if err := unix.Kill(-p.pid, sig); err != nil && err != unix.ESRCH { // gone already
		p.log.SignalFailed(unix.SignalName(sig), os.NewSyscallError("kill", err))
	}
}

// exited buries the process and waits for the rest of what it said.
func (p *program) exited() {
	p.status = reap(p.pid)
	p.pid = 0
	if !p.launching { // otherwise the end of the status pipe calls buried
		p.buried()
	}
}

// buried is called when the process is gone and it is known whether it was the
// program.
func (p *program) buried() {
	if err := p.failure; err != nil {
		p.failure = nil
		p.notStarted(err)
		return
	}
	p.schedule(timerRest, p.pace.rest)
	p.quiet()
}

// quiet is called when the process is gone, or one of its pipes after it: with
// both its life is over. Its last words are why it died, and they may take the
// loop more turns than the end itself.
func (p *program) quiet() {
	if p.out == nil && p.errs == nil {
		p.ended()
	}
}

// ended is the end of a life.
func (p *program) ended() {
	p.loop.Cancel(p.timer)
	for _, c := range []*evloop.Conn{p.in, p.out, p.errs} {
		if c != nil {
			c.Abort(nil)
		}
	}
	p.in, p.out, p.errs = nil, nil, nil
	p.saidAll()
	p.spoken.end(p.say, p.sayLong)
	ran := p.loop.Now().Sub(p.began)
	p.log.ProgramEnded(p.status, p.stopped, p.user.gone(), ran)
	p.again(ran)
}

// reap ends what is left of the program's group and takes its status. The
// process is a zombie, so neither call can block or hit another.
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
