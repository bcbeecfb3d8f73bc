// SPDX-License-Identifier: Apache-2.0

package sdtest

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Exec replaces this process by a program that believes it was activated with
// the descriptors 3, 4, ... which must be open. LISTEN_PID has to be the
// number of the very process that runs the program, so a parent cannot set it:
// a test starts itself with os/exec and ExtraFiles, and calls Exec in that
// child. It returns only on failure.
//
// names become LISTEN_FDNAMES; with none the variable is left out and fds is
// the number of descriptors.
func Exec(path string, args []string, fds int, names ...string) error {
	env := []string{
		"LISTEN_PID=" + strconv.Itoa(os.Getpid()),
		"LISTEN_FDS=" + strconv.Itoa(fds),
	}
	if len(names) > 0 {
		env = append(env, "LISTEN_FDNAMES="+strings.Join(names, ":"))
	}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "LISTEN_") {
			env = append(env, kv)
		}
	}
	return os.NewSyscallError("execve", unix.Exec(path, append([]string{path}, args...), env))
}
