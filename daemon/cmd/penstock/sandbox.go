// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"penstock/daemon/internal/systemctl"
	"penstock/daemon/internal/unit"
)

// runtimeUnits is where the manager finds a new unit without a daemon-reload. A
// daemon-reload would run the generator, and could not be undone.
const runtimeUnits = "run/systemd/system"

// checkAsService reads the files once more with the user of the service and in
// its sandbox: a file that only root can read, or that lies in a folder that is
// hidden from the service, passes outside and would stop every service at the
// restart. ok is what check printed for the files as they were read here. If it
// prints anything else there, for example because a folder of drop-ins is hidden,
// that is a mistake as well.
func (p process) checkAsService(source, ok string) error {
	if os.Geteuid() != 0 {
		return nil // the manager will decide what we may do
	}
	service, err := systemctl.ShowOne(unit.Service)
	if err != nil || service.User == "" {
		return nil // no such service: the daemon-reload or restart that follows reports it
	}
	said, err := p.inSandbox("check", "-c", source)
	switch {
	case err != nil:
		return fmt.Errorf("%s would not start as it is: %w", unit.Service, err)
	case !strings.Contains(said, ok):
		return fmt.Errorf("%s, with user %s and in its sandbox, reads them differently:\n%s",
			unit.Service, service.User, strings.TrimSpace(said))
	}
	return nil
}

// inSandbox runs a command of this program as the service would be run, and
// returns what it prints. The error says that it could not be run at all.
func (p process) inSandbox(args ...string) (said string, err error) {
	files, err := systemctl.Cat(unit.Service)
	if err != nil {
		return "", err
	}
	program, err := os.Executable()
	if err != nil {
		return "", err
	}
	// Each check has a unit name of its own: the manager does not read a unit
	// again that it has loaded.
	name := "penstock-check-" + strconv.Itoa(os.Getpid()) + ".service"
	output := p.path(filepath.Join("/run/penstock", name))
	text, err := unit.CheckText(files, output, append([]string{program}, args...)...)
	if err != nil {
		return "", err
	}
	return p.runUnit(name, text, output)
}

// runUnit runs a service once that writes to output, and returns what that holds
// then. Both files are gone afterwards.
func (p process) runUnit(name, text, output string) (said string, err error) {
	path := p.path(filepath.Join(runtimeUnits, name))
	defer func() { err = errors.Join(err, remove(path), remove(output)) }()
	for _, file := range []string{output, path} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return "", err
		}
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return "", err
	}
	began := time.Now()
	failed := systemctl.Do("start", name)
	printed, err := os.ReadFile(output)
	switch {
	case len(printed) > 0:
		return string(printed), nil // this tells more than its exit status
	case failed == nil:
		return "", err
	}
	if complaint := systemctl.Complaint(name, began); complaint != "" {
		return "", errors.New(complaint)
	}
	return "", failed
}

// remove deletes a file, which need not be there.
func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
