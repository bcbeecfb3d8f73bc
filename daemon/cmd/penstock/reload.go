// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/control"
	"penstock/daemon/internal/systemctl"
	"penstock/daemon/internal/unit"
)

const aboutReload = `Checks FILE (default ` + defaultConfig + `) and conf.d/*.toml
beside it, has the running daemon read its files again and waits for the result.
Exit status 78 when there is a mistake, 1 when the daemon refused the files.

It is short for: systemctl reload penstock.service
But a daemon that --socket PATH or $PENSTOCK_CONTROL names, or that this user has
started by hand, is asked itself, and FILE is checked only if it is given. So does
ExecReload= of a unit, which has $MAINPID, ask ` + config.ControlPath + `.
`

// reloadPatience is less than the unit's TimeoutStartSec=, which systemd applies to a
// reload as well, so that the reason is ours to tell. It is more than the daemon waits for
// its files.
const reloadPatience = 25 * time.Second

func reload(p process, c command, args []string) int {
	var file string
	a, status, ok := newAsk(p, c, args, func(flags *flag.FlagSet) { flags.StringVar(&file, fileOption.letter, "", "") })
	if !ok {
		return status
	}
	var client *control.Client
	var own bool
	var err error
	pid := os.Getenv("MAINPID")
	if pid == "" {
		client, own, err = a.dialOwn(reloadPatience)
	}
	if client != nil {
		defer client.Close()
	}
	if err == nil && (!own || file != "") && !p.hasNoMistake(cmp.Or(file, p.path(defaultConfig)), pid == "") {
		return exitConfig
	}
	var said string
	switch {
	case err != nil:
	case pid != "":
		// What the check has read is not kept while the daemon reads the same: the
		// unit's limits of memory are for both.
		debug.FreeOSMemory()
		err = a.reloadMain(pid)
	case own:
		said, err = reloadBy(client)
	default:
		said, err = reloadService()
	}
	if err != nil {
		fmt.Fprintln(p.stderr, "penstock reload:", explain(err))
		return exitFailed
	}
	if said != "" {
		fmt.Fprintln(p.stdout, said)
	}
	return exitOK
}

// hasNoMistake checks the files, and prints what is wrong with them. Warnings are in the
// journal when the service manager runs the command.
func (p process) hasNoMistake(file string, warn bool) bool {
	cfg, err := config.Load(file)
	if warn {
		p.printWarnings(cfg)
	}
	if err != nil {
		fmt.Fprintln(p.stderr, err)
	}
	return err == nil
}

// reloadBy has a daemon read its files again, and returns its status line.
func reloadBy(client *control.Client) (string, error) {
	var result control.Reloaded
	err := client.Call(control.Interface+".Reload", nil, &result)
	return result.Status, err
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

// reloadMain asks the main process of the unit that runs this command. From version 253 on
// the manager has sent a SIGHUP already before it does that. But the reload may have begun
// before the files were written, so there is always one more; SIGHUP has no answer, and the
// READY=1 that ends a reload is the same whether the files were taken or refused. A success
// is not printed, because the daemon's record is in the same journal.
//
// A unit of the user's own may lack the control socket, or that of another daemon may be
// there. Then the process gets a signal, and the result is in the journal alone.
func (a ask) reloadMain(text string) error {
	pid, err := strconv.Atoi(text)
	if err != nil || pid <= 1 {
		return fmt.Errorf("MAINPID is %q, not a process", text)
	}
	path, err := filepath.Abs(cmp.Or(a.socket, os.Getenv(controlVariable), a.path(config.ControlPath)))
	if err != nil {
		return err
	}
	client, err := control.Dial(path, reloadPatience)
	if nobodyThere(err) {
		return a.hangUp(pid)
	}
	if err != nil {
		return err
	}
	defer client.Close()
	var st control.Status
	switch err := client.Call(control.Interface+".Status", nil, &st); {
	case err != nil:
		return err
	case st.PID != pid:
		return a.hangUp(pid)
	}
	_, err = reloadBy(client)
	return err
}

// hangUp sends SIGHUP.
func (a ask) hangUp(pid int) error {
	// The number may be used again for another process; a pidfd refers to this one only.
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("process %d: %w", pid, os.NewSyscallError("pidfd_open", err))
	}
	defer unix.Close(process)
	if err := unix.PidfdSendSignal(process, unix.SIGHUP, nil, 0); err != nil {
		return fmt.Errorf("process %d: %w", pid, os.NewSyscallError("pidfd_send_signal", err))
	}
	fmt.Fprintln(a.stderr, "the daemon has no control socket here, so its journal alone has the result")
	return nil
}
