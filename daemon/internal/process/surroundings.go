// SPDX-License-Identifier: Apache-2.0

package process

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Surroundings are what a program finds around it. The zero value is the daemon's own.
type Surroundings struct {
	Env       []string // NAME=value, each in place of the daemon's variable of that name
	Directory string   // an absolute path; "": the daemon's
	Bare      bool     // there are no variables but those of Env
}

func (s Surroundings) equal(t Surroundings) bool {
	return s.Directory == t.Directory && s.Bare == t.Bare && slices.Equal(s.Env, t.Env)
}

// environ returns the environment of the program, given that of the daemon.
func (s Surroundings) environ(own []string) []string {
	if s.Bare {
		return s.Env
	}
	own = slices.DeleteFunc(programEnv(own), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.ContainsFunc(s.Env, func(o string) bool { return strings.HasPrefix(o, name+"=") })
	})
	return append(own, s.Env...)
}

// programEnv leaves out the variables that the service manager set for the daemon
// only: a program must not report readiness or take the daemon's sockets.
func programEnv(env []string) []string {
	ours := []string{"LISTEN_", "NOTIFY_SOCKET=", "WATCHDOG_", "FDSTORE="}
	return slices.DeleteFunc(env, func(v string) bool {
		return slices.ContainsFunc(ours, func(o string) bool { return strings.HasPrefix(v, o) })
	})
}

// usualFiles is how many open files the soft limit of a program allows. The daemon needs
// more, and what it has would break programs that use select(2), which knows no descriptor
// above 1023, or close each descriptor that there may be. A program that wants more raises
// the limit itself, as those of systemd's own services do.
const usualFiles = 1024

// fileLimit returns the limit of open files for a program.
func fileLimit() (r unix.Rlimit, err error) {
	err = unix.Getrlimit(unix.RLIMIT_NOFILE, &r)
	r.Cur = min(usualFiles, r.Max)
	return r, err
}

// Surround has the program run in other surroundings from its next start on. Renew ends
// one that runs in the former ones.
func (p *Program) Surround(around Surroundings) {
	p.moved = p.moved || !p.Around.equal(around)
	p.Around = around
}
