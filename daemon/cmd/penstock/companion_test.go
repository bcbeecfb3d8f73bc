// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"penstock/daemon/internal/control"
	"penstock/daemon/internal/view"
)

// TestStatusOfCompanions: what a companion says of itself is shown below the process.
func TestStatusOfCompanions(t *testing.T) {
	var out strings.Builder
	a := ask{process: process{stdout: &out}}
	a.printProcess(control.Status{Version: "1", Companions: []view.Companion{{Name: "mqtt", State: "connected to broker.lan:1883"}}})
	if want := "\nmqtt: connected to broker.lan:1883\n\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("status is %q, want %q at its end", out.String(), want)
	}
}

// TestCheckWithoutCompanion: check says that nothing reaches a broker where the package is
// missing.
func TestCheckWithoutCompanion(t *testing.T) {
	root := t.TempDir()
	file := filepath.Join(root, "p.toml")
	text := "[mqtt]\nbroker = \"mqtt://b.lan\"\n[service.a]\nkind = \"room\"\nlisten = [\"@a\"]\nmqtt = { room = \"a\" }\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	const warning = "mqtt: warning: nothing reaches the broker, since the package penstock-mqtt is not installed\n"
	for _, there := range []bool{false, true} {
		if there {
			path := filepath.Join(root, "usr/bin/penstock-mqtt")
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, nil, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		var out, errs strings.Builder
		p := process{root: root, stdout: &out, stderr: &errs}
		if status := p.run([]string{"check", "-c", file}); status != exitOK || strings.Contains(errs.String(), warning) == there {
			t.Errorf("installed %v: status %d, %q", there, status, errs.String())
		}
	}
}
