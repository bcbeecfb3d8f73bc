// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRivals: what may take a port is named, if it is there and was not told to leave the
// port alone.
func TestRivals(t *testing.T) {
	const (
		mm     = "may be taken by ModemManager"
		br     = "may be taken by brltty"
		getty  = "has a login prompt, serial-getty@ttyS0.service: systemctl mask --now serial-getty@ttyS0.service"
		kernel = "is a console of the kernel"
		byID   = "/dev/serial/by-id/usb-1"
	)
	modem := []string{"usr/sbin/ModemManager", "usr/bin/brltty"}
	wants := "getty.target.wants/serial-getty@ttyS0.service"
	tests := []struct {
		name   string
		files  []string // NAME, NAME=TEXT or NAME->LINK
		device string
		want   []string // the beginnings of lines
	}{
		{"nothing", nil, "/dev/ttyUSB0", nil},
		{"a USB adapter", modem, "/dev/ttyUSB0", []string{mm, br}},
		{"of another class", modem, "/dev/ttyACM3", []string{mm}},
		{"a soldered line", modem, "/dev/ttyS0", nil},
		{"a link", append([]string{"dev/ttyACM0", "dev/gps->ttyACM0"}, modem...), "/dev/gps", []string{mm}},
		{"a link that is not there yet", modem, byID, []string{mm, br}},
		{"a link to a line", append([]string{"dev/ttyACM0", byID[1:] + "->../../ttyACM0"}, modem...), byID, []string{mm}},
		{"masked", append([]string{"etc/systemd/system/ModemManager.service->/dev/null"}, modem...), "/dev/ttyUSB0", []string{br}},
		{
			"udev says so", append([]string{"dev/ttyUSB0", "run/udev/data/c0:0=I:1\nE:ID_MM_DEVICE_IGNORE=1\n"}, modem...),
			"/dev/ttyUSB0",
			[]string{br},
		},
		{"a login prompt", []string{"etc/systemd/system/" + wants}, "/dev/ttyS0", []string{getty}},
		{"that the manager makes", []string{"run/systemd/generator/" + wants + "->/usr/lib/systemd/system/serial-getty@.service"}, "/dev/ttyS0", []string{getty}},
		{"of another line", []string{"etc/systemd/system/" + wants}, "/dev/ttyS1", nil},
		{"that is masked", []string{"run/systemd/generator/" + wants, "etc/systemd/system/serial-getty@ttyS0.service->/dev/null"}, "/dev/ttyS0", nil},
		{"a console", []string{"sys/class/tty/console/active=tty0 ttyS0\n"}, "/dev/ttyS0", []string{kernel}},
		{"another console", []string{"sys/class/tty/console/active=tty0 ttyS01\n"}, "/dev/ttyS0", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := machine(t, tt.files)
			got := takers(root, tt.device)
			if len(got) != len(tt.want) {
				t.Fatalf("takers = %q, want %q", got, tt.want)
			}
			for i := range got {
				if !strings.HasPrefix(got[i], tt.want[i]) {
					t.Errorf("takers = %q, want %q", got, tt.want)
				}
			}
		})
	}
}

// machine makes the root of a machine with these files. A device is a plain file, whose
// number is 0:0.
func machine(t *testing.T, files []string) (root string) {
	t.Helper()
	root = t.TempDir()
	for _, f := range files {
		name, text, _ := strings.Cut(f, "=")
		name, link, isLink := strings.Cut(name, "->")
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		err := os.WriteFile(path, []byte(text), 0o600)
		if isLink {
			err = os.Remove(path)
			if err == nil {
				err = os.Symlink(link, path)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// TestAround: all of it, by the name of the service.
func TestAround(t *testing.T) {
	root := machine(t, []string{"usr/sbin/ModemManager", "srv/folder/file", "usr/bin/there", "usr/bin/text"})
	if err := os.Chmod(filepath.Join(root, "usr/bin/there"), 0o700); err != nil {
		t.Fatal(err)
	}
	c, err := Parse("x.toml", []byte("[service.gps]\nkind='bridge'\nlisten=['@g']\ndevice='/dev/ttyACM77'\n"+
		"[service.web]\nkind='proxy'\nlisten=['@w']\nto=['app.example:80']\n[service.e]\nkind='echo'\nlisten=['@e','/srv/folder','/srv/free.sock']\n"+
		"socket_user='no-such-user'\nsocket_group='4711'\n[service.f]\nkind='echo'\nlisten=['/srv/f.sock']\nsocket_user='root'\nsocket_group='no-such-group'\n"+
		"[service.h]\nkind='handler'\nlisten=['@h']\ncommand=['/usr/bin/missing']\n[service.x]\nkind='exec'\nlisten=['@x']\ncommand=['/usr/bin/there']\n"+
		"[service.y]\nkind='exec'\nlisten=['@y']\ncommand=['/usr/bin/text']\n[service.z]\nkind='bridge'\nlisten=['@z']\ncommand=['/srv/folder']\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"service gps: /dev/ttyACM77 is not there yet; it is opened when it is",
		"service e: /srv/folder is there and is no socket, so nobody can listen on it",
		`service e: socket_user: there is no user "no-such-user" in /etc/passwd`,
		`service f: socket_group: there is no group "no-such-group" in /etc/group`,
		"service gps: /dev/ttyACM77 may be taken by ModemManager, which is installed: " + rivals[0].cure,
		"service h: /usr/bin/missing is not there, and cannot be started",
		"service web: /usr/bin/getent is not there, and names cannot be looked up without (Debian: libc-bin)",
		"service y: /usr/bin/text is not executable, and cannot be started",
		"service z: /srv/folder is no program, and cannot be started",
	}
	if got := c.Around(root); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if err := unix.Access("/usr/bin/getent", unix.X_OK); err == nil && strings.Contains(fmt.Sprint(c.Around("/")), Getent) {
		t.Errorf("getent is there: %q", c.Around("/"))
	}
}
