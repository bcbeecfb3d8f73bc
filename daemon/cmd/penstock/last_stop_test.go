// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/daemon"
)

// TestStopWhileBecoming: a process that another one has become may have its connections,
// so a request to stop does not kill it while it reads its configuration. It stops when it
// has them.
func TestStopWhileBecoming(t *testing.T) {
	for _, signal := range []syscall.Signal{unix.SIGTERM, unix.SIGINT} {
		dir := t.TempDir()
		file := filepath.Join(dir, "penstock.toml")
		if err := unix.Mkfifo(file, 0o600); err != nil {
			t.Fatal(err)
		}
		p := &proc{cmd: exec.Command("penstock", "run", "-c", file), out: newTranscript(), done: make(chan struct{})}
		p.cmd.Env = append(os.Environ(), daemon.QueueVariable+"=9") // which nobody has opened: there is no connection
		if err := p.run(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = p.cmd.Process.Kill()
			<-p.done
		})
		config, err := os.OpenFile(file, os.O_WRONLY, 0) // returns when the process has opened it to read
		if err != nil {
			t.Fatal(err)
		}
		if err := p.cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(config, "[service.e]\nkind='echo'\nlisten=['%s/s']\n", dir)
		config.Close()
		<-p.done
		if state := p.cmd.ProcessState; state.ExitCode() != 0 {
			t.Errorf("after %v: %v, want a stop\n%v", signal, state, p.out)
		}
	}
}
