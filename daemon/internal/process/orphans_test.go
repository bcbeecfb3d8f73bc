// SPDX-License-Identifier: Apache-2.0

package process

import (
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestReapOrphans: a child that has ended is reaped, unless it is a program,
// whose end the loop has yet to see.
func TestReapOrphans(t *testing.T) {
	for name, program := range map[string]bool{"orphan": false, "program": true} {
		t.Run(name, func(t *testing.T) {
			pid, err := syscall.ForkExec("/bin/sh", []string{"sh", "-c", "exit 3"}, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{}})
			if err != nil {
				t.Fatal(err)
			}
			own := func(yes bool) {
				programs.Lock()
				defer programs.Unlock()
				if delete(programs.pids, pid); yes {
					programs.pids[pid] = nil
				}
			}
			own(program)
			defer own(false)
			if err := awaitEnd(pid); err != nil {
				t.Fatal(err)
			}
			if again := ReapOrphans(); again != program {
				t.Errorf("ReapOrphans = %v, want %v", again, program)
			}
			var status unix.WaitStatus
			if got, _ := unix.Wait4(pid, &status, unix.WNOHANG, nil); (got == pid) != program {
				t.Errorf("the number of the child can be used again: %v, want %v", got != pid, !program)
			}
		})
	}
}
