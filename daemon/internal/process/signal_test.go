// SPDX-License-Identifier: Apache-2.0

package process

import (
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/evloop/evlooptest"
)

// A process that was forked a moment ago and has no group of its own yet gets the signal,
// too: a child that is told to end once must not miss that.
func TestSignalBeforeGroup(t *testing.T) {
	for _, group := range []bool{true, false} {
		cmd := exec.Command("/bin/sleep", "1000")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: group}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		signalGroup(nil, cmd.Process.Pid, unix.SIGTERM)
		late := time.AfterFunc(evlooptest.Patience, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		late.Stop()
		if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signal() != unix.SIGTERM {
			t.Errorf("with a group %v it ended by %v, want SIGTERM", group, ws.Signal())
		}
	}
}
