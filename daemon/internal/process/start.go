// SPDX-License-Identifier: Apache-2.0

package process

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"penstock/evloop"
)

// A program is started in two steps, so that a slow start stops nobody:
//
//	loop ──ForkExec──► stub ──execve──► the program
//	       our own image,     │ error
//	       in memory          └──► errno ──► status pipe
//
// Between vfork(2) and execve(2) the thread that calls ForkExec is stopped, and
// the Go runtime takes it for one that runs code. It keeps the one processor
// that the loop needs, and no other thread can stop the world. An SD card, a
// network file system or a virus scanner can make execve last for seconds. A
// second processor would not help against the garbage collector, which has to
// stop the world. So the first image is our own, which is in memory, and what
// may last is done by the new process alone.
//
// The status pipe is close-on-exec in the stub: it ends without a word when the
// program runs, and with the call and the number of the error when it does not.

// LaunchCommand is the word after the name of our own binary that makes it the
// stub. The main of a binary that uses this package must call Launch for it.
const LaunchCommand = "launch-program"

// statusFD is the stub's end of the status pipe.
const statusFD = 3

// Launch is the stub: it turns this process into the program argv. It only
// returns when that fails, with the exit status.
func Launch(argv []string) (status int) {
	call, err := "execve", syscall.EINVAL
	if len(argv) > 0 {
		call, err = become(argv)
	}
	_, _ = unix.Write(statusFD, fmt.Appendf(nil, "%s %d", call, int(err)))
	return 127 // as a shell that cannot execute a command
}

// become returns the call that has failed. Without the flag on the status pipe the
// program would hold it open, and never count as started.
func become(argv []string) (call string, err syscall.Errno) {
	if _, err := unix.FcntlInt(statusFD, unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
		errno, _ := err.(syscall.Errno)
		return "fcntl", errno
	}
	err, _ = syscall.Exec(argv[0], argv, os.Environ()).(syscall.Errno)
	return "execve", err
}

// fork has a goroutine start the stub.
func (p *Program) fork() {
	pipes, err := openPipes()
	if err != nil {
		p.failure = err
		p.trigger(notForked)
		return
	}
	go p.attend(pipes)
}

// attend runs on its own goroutine from the start of the process to its end.
func (p *Program) attend(pipes pipes) {
	pid, err := forkStub(p.argv, pipes)
	closeAll(pipes.theirs()...)
	if !p.loop.Post(func() { p.started(pid, err, pipes) }) {
		closeAll(append(pipes.ours(), pipes.status[0])...)
	}
	if err != nil {
		return
	}
	if err := awaitEnd(pid); err != nil {
		p.log.ProgramUnseen(pid, err)
	}
	if !p.loop.Post(func() { p.trigger(exited) }) {
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

// started hears what has become of fork.
func (p *Program) started(pid int, err error, pipes pipes) {
	if err != nil {
		closeAll(append(pipes.ours(), pipes.status[0])...)
		p.failure = err
		p.trigger(notForked)
		return
	}
	p.pid, p.pipes, p.failure = pid, pipes, nil
	p.trigger(forked)
}

// forkStub starts the stub of argv.
func forkStub(argv []string, pipes pipes) (pid int, err error) {
	programs.Lock()
	defer programs.Unlock()
	pid, err = syscall.ForkExec("/proc/self/exe", slices.Concat([]string{os.Args[0], LaunchCommand}, argv), &syscall.ProcAttr{
		Env: programEnv(os.Environ()),
		Files: []uintptr{
			uintptr(pipes.in[0]), uintptr(pipes.out[1]), uintptr(pipes.errs[1]),
			statusFD: uintptr(pipes.status[1]),
		},
		Sys: &syscall.SysProcAttr{Setpgid: true}, // a signal reaches its children too
	})
	if err == nil {
		programs.pids[pid] = true
	}
	return pid, os.NewSyscallError("fork", err)
}

// programEnv leaves out what the service manager said to us alone: a program
// must not report our readiness, or adopt our sockets.
func programEnv(env []string) []string {
	ours := []string{"LISTEN_", "NOTIFY_SOCKET=", "WATCHDOG_", "FDSTORE="}
	return slices.DeleteFunc(env, func(v string) bool {
		return slices.ContainsFunc(ours, func(o string) bool { return strings.HasPrefix(v, o) })
	})
}

// launch waits for what becomes of the stub.
func (p *Program) launch() {
	if _, err := p.loop.Add(p.pipes.status[0], execStatus{p: p}, nil); err != nil { // out of memory or of watches
		closeAll(p.pipes.status[0])
		p.failure = err
		p.trigger(notRun)
	}
}

// execStatus reads the status pipe.
type execStatus struct {
	evloop.Base
	p *Program
}

func (s execStatus) Data(_ *evloop.Conn, b []byte) int {
	call, number, _ := strings.Cut(string(b), " ")
	if errno, err := strconv.Atoi(number); err == nil {
		s.p.failure = os.NewSyscallError(call, syscall.Errno(errno))
	}
	return len(b)
}

// Closed comes when the stub has become the program, or has ended.
func (s execStatus) Closed(_ *evloop.Conn, err error) {
	if err == evloop.ErrLoopClosed {
		s.p.failure = err
	}
	if s.p.failure != nil {
		s.p.trigger(notRun)
		return
	}
	s.p.trigger(runs)
}

// pipes are those between us and a program: [0] is the end to read from.
type pipes struct{ in, out, errs, status [2]int }

func openPipes() (p pipes, err error) {
	var made []int
	for _, fds := range []*[2]int{&p.in, &p.out, &p.errs, &p.status} {
		if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
			closeAll(made...)
			return pipes{}, os.NewSyscallError("pipe2", err)
		}
		made = append(made, fds[:]...)
	}
	return p, nil
}

// ours returns the ends that stay with us while the program runs.
func (p *pipes) ours() []int { return []int{p.in[1], p.out[0], p.errs[0]} }

// theirs returns the ends that the program has.
func (p *pipes) theirs() []int { return []int{p.in[0], p.out[1], p.errs[1], p.status[1]} }

func closeAll(fds ...int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}
