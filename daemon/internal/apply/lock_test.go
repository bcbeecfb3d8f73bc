// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLock: the second apply says that it waits, and goes on when the first
// has ended.
func TestLock(t *testing.T) {
	root := t.TempDir()
	release, err := Lock(root, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(filepath.Join(root, lockFile))
	if err != nil || fi.Mode().Perm()&0o077 != 0 {
		t.Errorf("lock file: %v, %v, want one for its owner alone", fi, err)
	}
	said, out := io.Pipe()
	second := make(chan error)
	go func() {
		again, err := Lock(root, out)
		if err == nil {
			again()
		}
		second <- err
	}()
	line := make([]byte, 100)
	n, err := said.Read(line) // it waits from here on
	if err != nil || !strings.Contains(string(line[:n]), "waiting") {
		t.Errorf("the second says %q, %v", line[:n], err)
	}
	select {
	case err := <-second:
		t.Errorf("the second went on, %v, while the first was under way", err)
	default:
	}
	release()
	if err := <-second; err != nil {
		t.Error(err)
	}
}
