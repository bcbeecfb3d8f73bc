// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/systemctl"
	"penstock/daemon/internal/unit"
)

const aboutReload = `Checks FILE (default ` + defaultConfig + `) and conf.d/*.toml
beside it, has the running daemon read its files again and waits for the result.
Exit status 78 when there is a mistake, 1 when the daemon refused the files.

As ExecReload= of a unit with RuntimeDirectory= it signals $MAINPID; otherwise
it is short for: systemctl reload penstock.service
`

// reloadPatience is less than the unit's TimeoutStartSec=, which systemd
// applies to a reload as well, so that the reason is ours to tell.
const reloadPatience = 25 * time.Second

func reload(p process, c command, args []string) int {
	asked := monotonic()
	flags := c.flags()
	file := flags.String(fileOption.letter, p.path(defaultConfig), "")
	if status, ok := p.parse(c, flags, args); !ok {
		return status
	}
	cfg, err := config.Load(*file)
	pid := os.Getenv("MAINPID")
	if pid == "" {
		p.printWarnings(cfg) // otherwise they are in the daemon's journal
	}
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return exitConfig
	}
	var said string
	if pid != "" {
		err = reloadProcess(pid, runtimeFolder(), asked)
	} else {
		said, err = reloadService()
	}
	if err != nil {
		fmt.Fprintln(p.stderr, "penstock reload:", err)
		return exitFailed
	}
	if said != "" {
		fmt.Fprintln(p.stdout, said)
	}
	return exitOK
}

// reloadService has the manager do it, so that it knows of the reload; the
// manager runs us again, as ExecReload=.
func reloadService() (said string, err error) {
	before, err := systemctl.ShowOne(unit.Service)
	switch {
	case err != nil:
		return "", err
	case before.Load == "not-found":
		return "", fmt.Errorf("there is no %s; to have a process read its files again, send it SIGHUP", unit.Service)
	case before.MainPID == 0:
		return unit.Service + " does not run; the files are read when it starts", nil
	}
	err = systemctl.Do("reload", unit.Service)
	after, showErr := systemctl.ShowOne(unit.Service)
	if err != nil && after.Status != "" {
		err = fmt.Errorf("%w\n%s: %s", err, unit.Service, after.Status)
	}
	return unit.Service + ": " + after.Status, errors.Join(err, showErr)
}

// reloadProcess signals the daemon and waits for the outcome of a reload that began
// after asked. From version 253 on the manager has sent a SIGHUP already before it runs
// this command. But that reload may have begun before asked, so this command always
// sends its own; several signals in a row make one reload. A success is not printed,
// because the daemon's record is in the same journal.
func reloadProcess(text, folder string, asked time.Duration) error {
	pid, err := strconv.Atoi(text)
	if err != nil || pid <= 1 {
		return fmt.Errorf("MAINPID is %q, not a process", text)
	}
	if folder == "" {
		return errors.New("RUNTIME_DIRECTORY is not set: the unit needs RuntimeDirectory= for the result")
	}
	// The number may be used again for another process; a pidfd refers to this one only.
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("process %d: %w", pid, os.NewSyscallError("pidfd_open", err))
	}
	defer unix.Close(process)
	watch, err := watchFolder(folder)
	if err != nil {
		return err
	}
	defer unix.Close(watch)
	if err := unix.PidfdSendSignal(process, unix.SIGHUP, nil, 0); err != nil {
		return fmt.Errorf("process %d: %w", pid, os.NewSyscallError("pidfd_send_signal", err))
	}
	return awaitOutcome(process, watch, folder, asked)
}

// watchFolder returns an inotify descriptor that is readable once a file has
// been renamed in the folder.
func watchFolder(folder string) (int, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return -1, os.NewSyscallError("inotify_init1", err)
	}
	if _, err := unix.InotifyAddWatch(fd, folder, unix.IN_MOVED_TO|unix.IN_DELETE_SELF); err != nil {
		unix.Close(fd)
		return -1, &os.PathError{Op: "inotify_add_watch", Path: folder, Err: err}
	}
	return fd, nil
}

// awaitOutcome waits until there is an outcome that is late enough, the
// process ends or patience does. asked is cut to the file's resolution.
func awaitOutcome(process, watch int, folder string, asked time.Duration) error {
	asked = asked.Truncate(time.Microsecond)
	deadline := monotonic() + reloadPatience
	for {
		if o, ok := readOutcome(folder); ok && o.began >= asked {
			return o.err
		}
		left := deadline - monotonic()
		if left <= 0 {
			return fmt.Errorf("no result within %v", reloadPatience)
		}
		fds := []unix.PollFd{{Fd: int32(watch), Events: unix.POLLIN}, {Fd: int32(process), Events: unix.POLLIN}}
		_, err := unix.Poll(fds, int(left.Milliseconds())+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("poll", err)
		}
		if fds[1].Revents != 0 {
			return errors.New("the process ended before it told the result")
		}
		var events [4096]byte
		_, _ = unix.Read(watch, events[:]) // what they say is in the file
	}
}
