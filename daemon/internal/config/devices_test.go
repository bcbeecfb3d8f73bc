// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestDevicesOnce: two services do not take one device, by whatever name.
func TestDevicesOnce(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mkfifo(dir+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("fifo", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	bridge := func(name, device string) string {
		return fmt.Sprintf("[service.%s]\nkind='bridge'\nlisten=['@%[1]s']\ndevice='%s'\n", name, device)
	}
	for _, tt := range []struct {
		text     string
		err, why string
	}{
		{bridge("a", dir+"/fifo") + bridge("b", dir+"/other"), "", ""},
		{bridge("a", dir+"/away") + bridge("b", dir+"/./away"), fmt.Sprintf("x.toml:8: service.b.device: %q is taken by service.a already", dir+"/away"), ""},
		{bridge("a", dir+"/fifo") + bridge("b", dir+"/link"), "", fmt.Sprintf("x.toml:8: service.b.device: warning: %q leads to %s now, as the device of service.a does; one of the two will not get it\n", dir+"/link", dir+"/fifo")},
	} {
		c, err := Parse("x.toml", []byte(tt.text))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != tt.err {
			t.Errorf("%s\ngot %q, want %q", tt.text, got, tt.err)
		}
		if err == nil && fmt.Sprint(c.Warnings) != tt.why {
			t.Errorf("%s\ngot %q, want %q", tt.text, c.Warnings, tt.why)
		}
	}
}

// TestDevicesAway: a device that is not there is named, and a file that is none.
func TestDevicesAway(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mkfifo(dir+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/plain", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	text := ""
	for i, device := range []string{"fifo", "away", "plain", "plain/x"} {
		text += fmt.Sprintf("[service.s%d]\nkind='bridge'\nlisten=['@s%[1]d']\ndevice='%s/%s'\n", i, dir, device)
	}
	c, err := Parse("x.toml", []byte(text+"[service.e]\nkind='echo'\nlisten=['@e']\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"service s1: " + dir + "/away is not there yet; it is opened when it is",
		"service s2: " + dir + "/plain is no terminal line, FIFO or character device",
		"service s3: " + dir + "/plain/x cannot be seen: stat " + dir + "/plain/x: not a directory",
	}
	if diff := cmp.Diff(want, c.DevicesAway()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
