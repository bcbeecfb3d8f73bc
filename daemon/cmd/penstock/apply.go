// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"

	"penstock/daemon/internal/apply"
	"penstock/daemon/internal/config"
	"penstock/daemon/internal/systemctl"
	"penstock/daemon/internal/unit"
)

const aboutApply = `Puts ` + defaultConfig + ` and conf.d/*.toml beside it in force on
a machine where systemd holds the sockets: checks the files, runs daemon-reload,
restarts the sockets that have changed together with the service, stops those
that were removed, and looks whether every port listens. Ports that did not
change stay open. Exit status 78, and nothing is touched, when there is a
mistake; 1 when something does not listen in the end.

With -k no port that is served is closed, not even for a moment: only what
listens nowhere is opened, and what is left to do is written to standard error.
`

func applyFile(p process, c command, args []string) int {
	flags := c.flags()
	keep := flags.Bool(keepOption.letter, false, "")
	if status, ok := p.parse(c, flags, args); !ok {
		return status
	}
	source := p.path(defaultConfig)
	release, err := apply.Lock(p.root, p.stdout)
	if err != nil {
		fmt.Fprintln(p.stderr, "penstock apply:", err)
		return exitFailed
	}
	defer release()
	cfg, err := config.Load(source)
	if err == nil {
		err = p.checkAsService(source)
	}
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return exitConfig
	}
	a := apply.Applier{Root: p.root, Source: source, Out: p.stdout, Keep: *keep, Left: p.stderr}
	if err := a.Run(cfg); err != nil {
		fmt.Fprintln(p.stderr, "penstock apply:", err)
		return exitFailed
	}
	return exitOK
}

// checkAsService reads the files once more with the user of the service: one
// that only root can read would pass here and stop the service at its restart.
// A process of that user is asked, because no look at modes knows of access
// lists and of the folders above.
func (p process) checkAsService(source string) error {
	if os.Geteuid() != 0 {
		return nil // the manager will decide what we may do
	}
	service, err := systemctl.ShowOne(unit.Service)
	if err != nil || service.User == "" {
		return nil // no such service: what comes next tells
	}
	account, err := user.Lookup(service.User)
	if err != nil {
		return fmt.Errorf("user of %s: %w", unit.Service, err)
	}
	uid, uidErr := strconv.ParseUint(account.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(account.Gid, 10, 32)
	if err := errors.Join(uidErr, gidErr); err != nil {
		return fmt.Errorf("user of %s: %w", unit.Service, err)
	}
	cmd := exec.Command("/proc/self/exe", "check", "-c", source)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	said, err := cmd.CombinedOutput()
	if _, ran := errors.AsType[*exec.ExitError](err); ran {
		return fmt.Errorf("user %s, who runs the service, reads them differently:\n%s", account.Username, said)
	}
	return err
}
