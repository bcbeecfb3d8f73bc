// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"

	"golang.org/x/sys/unix"

	"penstock/daemon"
	"penstock/daemon/internal/config"
	"penstock/systemd"
)

// A restart that closes no connection leaves a queue for the next process: in the
// service manager's store, or open in this process, which then becomes the next one by
// execve(2). So it keeps its number and its place in a terminal or under a supervisor.

// queues returns the queues that this process was given.
func queues(from systemd.Inherited) (fds []int) {
	for _, s := range from.Stored {
		fds = append(fds, s.FD)
	}
	text, ok := os.LookupEnv(daemon.QueueVariable)
	if !ok {
		return fds
	}
	os.Unsetenv(daemon.QueueVariable) // no child may see it
	fd, err := strconv.Atoi(text)
	if err != nil || fd <= 2 {
		return fds
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
		return fds // it is not open
	}
	return append(fds, fd)
}

// becoming reports whether a former process has become this one.
func becoming() bool { return os.Getenv(daemon.QueueVariable) != "" }

// stopAsked reports whether the former process was told to stop.
func stopAsked() bool {
	defer os.Unsetenv(daemon.StopVariable)
	return os.Getenv(daemon.StopVariable) != ""
}

// mayExec says why becomeNext, or the start of the next process, would fail. Nobody but
// this process has the connections. Its clients go on meanwhile: it calls pause often.
func mayExec(file string, pause func() error) error {
	path, err := os.Executable()
	if err == nil {
		err = os.NewSyscallError("access", unix.Access(path, unix.X_OK))
	}
	if err == nil {
		_, err = readConfig(file, config.Loader{Pause: pause})
	}
	return err
}

// becomeNext does not return if all goes well. The path is that by which this program
// was started, and may be a newer one by now.
func (p process) becomeNext(queue int, d *daemon.Daemon) int {
	// They would end the next process until its runtime is up. That they are ignored
	// goes along. A stop must not be ignored: from LastStop until the next process calls
	// HoldStops it ends the process at once. It cannot be held back for that time, some
	// milliseconds: a blocked signal goes along, but the Go runtime unblocks SIGTERM and
	// SIGINT before it has a handler for them (minitSignalMask).
	signal.Ignore(unix.SIGUSR1, unix.SIGUSR2, unix.SIGHUP)
	path, err := os.Executable()
	if err == nil {
		err = daemon.Exec(path, os.Args, os.Environ(), queue, d.LastStop())
		fmt.Fprintln(p.stderr, "penstock: the program file cannot be executed, going on with this one:", err)
	}
	// What this process runs is there, whatever has become of its file.
	err = errors.Join(err, daemon.Exec("/proc/self/exe", os.Args, os.Environ(), queue, d.LastStop()))
	fmt.Fprintln(p.stderr, "penstock: cannot become the next process:", err)
	return exitFailed
}
