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

// A program is started in two stages, so that a slow start does not stop the loop:
//
//	loop ──ForkExec──► stub ──chdir, execve──► the program
//	       our own image,     │ error
//	       in memory          └──► errno ──► status pipe
//
// Between vfork(2) and execve(2) the thread that calls ForkExec is stopped, but the Go
// runtime treats it as running: it keeps the only processor (GOMAXPROCS), which the
// loop needs. An SD card, a network file system or a virus scanner can make execve take
// seconds. A second processor would not help, because the garbage collector must stop
// all threads. So the first execve is of our own binary, which is in memory, and the
// slow one is done by the new process.
//
// The status pipe is close-on-exec in the stub. It ends without data when the program
// runs. If the program cannot be run, the stub writes the failed call and the number of
// the error.

// LaunchCommand is the word after the name of our own binary that makes it the
// stub. The main of a binary that uses this package must call Launch for it.
const LaunchCommand = "launch-program"

// statusFD is the stub's end of the status pipe.
const statusFD = 3

// Launch is the stub: it turns this process into a program. args are its folder, which
// may be empty, and its argv. Launch only returns when that fails, with the exit status.
func Launch(args []string) (status int) {
	call, err := "execve", syscall.EINVAL
	if len(args) > 1 {
		call, err = become(args[0], args[1:])
	}
	_, _ = unix.Write(statusFD, fmt.Appendf(nil, "%s %d", call, int(err)))
	return 127 // as a shell that cannot execute a command
}

// become returns the call that has failed. It marks the status pipe close-on-exec:
// otherwise the program would hold the pipe open and never count as started.
func become(folder string, argv []string) (call string, err syscall.Errno) {
	if _, err := unix.FcntlInt(statusFD, unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
		errno, _ := err.(syscall.Errno)
		return "fcntl", errno
	}
	if folder != "" {
		if err := syscall.Chdir(folder); err != nil {
			errno, _ := err.(syscall.Errno)
			return "chdir", errno
		}
	}
	if limit, err := fileLimit(); err == nil {
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	}
	err, _ = syscall.Exec(argv[0], argv, os.Environ()).(syscall.Errno)
	return "execve", err
}

// fork has a goroutine start the stub.
func (p *Program) fork() {
	p.argv, p.renewed, p.grace = p.wanted, false, 0
	pipes, err := openPipes()
	if err != nil {
		p.failure = err
		p.advance(notForked)
		return
	}
	go p.attend(p.argv, p.Around, pipes)
}

// attend runs on its own goroutine from the start of the process to its end.
func (p *Program) attend(argv []string, around Surroundings, pipes pipes) {
	pid, err := forkStub(argv, around, pipes)
	closeAll(pipes.theirs()...)
	p.loop.PostOr(func() { p.started(pid, err, pipes) }, func() {
		closeAll(append(pipes.ours(), pipes.status[0])...)
		if err == nil { // as a program gets it that runs when the loop is closed
			_ = unix.Kill(-pid, unix.SIGTERM)
		}
	})
	if err != nil {
		return
	}
	if err := awaitEnd(pid); err != nil {
		p.log.ProgramUnseen(pid, err)
	}
	p.loop.PostOr(func() { p.advance(exited) }, func() { reap(pid) })
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

// started is called on the loop with the result of fork.
func (p *Program) started(pid int, err error, pipes pipes) {
	if err != nil {
		closeAll(append(pipes.ours(), pipes.status[0])...)
		p.failure = err
		p.advance(notForked)
		return
	}
	p.pid, p.number, p.pipes, p.failure = pid, pid, pipes, nil
	p.advance(forked)
}

// forkStub starts the stub of argv.
func forkStub(argv []string, around Surroundings, pipes pipes) (pid int, err error) {
	programs.Lock()
	defer programs.Unlock()
	pid, err = syscall.ForkExec("/proc/self/exe", slices.Concat([]string{os.Args[0], LaunchCommand, around.Directory}, argv), &syscall.ProcAttr{
		Env: around.environ(os.Environ()),
		Files: []uintptr{
			uintptr(pipes.in[0]), uintptr(pipes.out[1]), uintptr(pipes.errs[1]),
			statusFD: uintptr(pipes.status[1]),
		},
		Sys: &syscall.SysProcAttr{Setpgid: true}, // a signal reaches its children too
	})
	if err == nil {
		programs.pids[pid] = nil
	}
	return pid, os.NewSyscallError("fork", err)
}

// launch waits until the stub has become the program or has failed.
func (p *Program) launch() {
	if _, err := p.loop.AddOwn(p.pipes.status[0], execStatus{p: p}, nil); err != nil { // out of memory or of watches
		closeAll(p.pipes.status[0])
		p.failure = err
		p.advance(notRun)
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
		s.p.advance(notRun)
		return
	}
	s.p.advance(runs)
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
