// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestStderrWithoutReader: `penstock run 2>&1 | head` leaves a pipe that nobody
// reads. The clients are served, and neither the service nor its end waits for
// a log that can never go.
func TestStderrWithoutReader(t *testing.T) {
	dir := t.TempDir()
	file, path := filepath.Join(dir, "penstock.toml"), filepath.Join(dir, "echo.sock")
	if err := os.WriteFile(file, []byte("[service.echo]\nkind='echo'\nlisten=['"+path+"']\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	cmd := exec.Command("penstock", "run", "-c", file)
	cmd.Stderr = w
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	stuck := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer stuck.Stop()
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil { // what listens where
		t.Fatal(err)
	}
	chat(t, path, 3)
	if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("ended with %v, want 0", err)
	}
}
