// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMayExecPauses: clients do not wait while the files are read before a restart, and
// it is the pause that ends the reading.
func TestMayExecPauses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "penstock.toml")
	line := "# " + strings.Repeat("x", 77) + "\n"
	const size = 256 << 10
	text := "[service.x]\nkind = \"echo\"\nlisten = [\"7\"]\n" + strings.Repeat(line, size/len(line))
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	pauses := 0
	if err := mayExec(file, func() error { pauses++; return nil }); err != nil {
		t.Fatal(err)
	}
	if want := size / (16 << 10); pauses < want {
		t.Errorf("%d pauses in %d KiB, want at least %d", pauses, size>>10, want)
	}
	enough := errors.New("enough")
	if err := mayExec(file, func() error { return enough }); !errors.Is(err, enough) {
		t.Errorf("mayExec = %v, want %v", err, enough)
	}
}
