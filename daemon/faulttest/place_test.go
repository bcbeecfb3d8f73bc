// SPDX-License-Identifier: Apache-2.0

package faulttest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// What the daemon's surroundings look like is said in its environment and done
// by the process that becomes it, in a mount namespace of its own: the machine
// that runs the tests sees nothing of it.
const (
	journalEnv  = "FAULTTEST_JOURNAL"  // the folder that is journald's
	fullEnv     = "FAULTTEST_FULL"     // a folder on a small and full file system
	readonlyEnv = "FAULTTEST_READONLY" // a folder that cannot be written
	stderrEnv   = "FAULTTEST_STDERR"   // the file that is standard error
	aheadEnv    = "FAULTTEST_AHEAD"    // run before all other programs
)

// place makes the surroundings, before the exec.
func place() error {
	for _, p := range []struct {
		key  string
		make func(path string) error
	}{
		{fullEnv, makeFull},
		{readonlyEnv, makeReadonly},
		{stderrEnv, makeStderr},
		{journalEnv, makeJournal},
		{aheadEnv, func(string) error { return runAhead() }},
	} {
		if path, ok := os.LookupEnv(p.key); ok {
			os.Unsetenv(p.key)
			if err := p.make(path); err != nil {
				return fmt.Errorf("%s=%s: %w", p.key, path, err)
			}
		}
	}
	return nil
}

// makeFull mounts a file system of a few pages, and uses them up.
func makeFull(path string) error {
	if err := unix.Mount("none", path, "tmpfs", 0, "size=32k"); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(path, "rubbish"))
	if err != nil {
		return err
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 1024))
	}
	return nil
}

func makeReadonly(path string) error {
	if err := unix.Mount(path, path, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	return unix.Mount("", path, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
}

func makeStderr(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return unix.Dup3(int(f.Fd()), 2, 0)
}

// makeJournal puts the folder where journald has its sockets, and says that
// standard error leads there.
func makeJournal(path string) error {
	const run = "/run/systemd/journal"
	if err := unix.Mount("none", "/run", "tmpfs", 0, ""); err != nil {
		return err
	}
	if err := os.MkdirAll(run, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(path, run, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(2, &st); err != nil {
		return err
	}
	return os.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", st.Dev, st.Ino))
}

// runAhead has this thread, and what it starts, run before the programs of all
// others, as far as that is allowed. A real-time policy would do so more
// strictly, but takes 50 ms of each second from a process that is always busy
// (sched(7)).
func runAhead() error {
	err := unix.Setpriority(unix.PRIO_PROCESS, 0, -20)
	if err == unix.EACCES {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("setpriority", err)
	}
	// Priorities count within a session only, unless that has one itself.
	if _, err := unix.Setsid(); err != nil {
		return os.NewSyscallError("setsid", err)
	}
	err = os.WriteFile("/proc/self/autogroup", []byte("-20"), 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil // there is none
	}
	return err
}

// edit changes the configuration file, which must have what is replaced.
func (h *host) edit(old, now string) {
	h.t.Helper()
	b, err := os.ReadFile(h.path("penstock.toml"))
	h.check(err)
	if !strings.Contains(string(b), old) {
		h.t.Fatalf("the file has no %q", old)
	}
	h.check(os.WriteFile(h.path("penstock.toml"), []byte(strings.Replace(string(b), old, now, 1)), 0o600))
}
