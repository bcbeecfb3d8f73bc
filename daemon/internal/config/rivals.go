// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// What else takes a serial port. A Linux system has three programs that open lines nobody has
// told them of, and then half of the bytes are missing or a modem's command arrives at a board.
// They are looked for as files, since check runs before the device is there, and also
// where no manager runs.

// A rival is a program that opens ports by itself.
type rival struct {
	name     string
	program  string   // below bin or sbin
	unit     string   // that a mask keeps from it
	prefixes []string // of the names of its ports in /dev
	heeds    bool     // what udev says about it, see left
	cure     string
}

var rivals = []rival{
	{
		"ModemManager", "ModemManager", "ModemManager.service",
		[]string{"ttyUSB", "ttyACM"},
		true,
		`a udev rule with ENV{ID_MM_DEVICE_IGNORE}="1" keeps it away, see udev(7)`,
	},
	{
		"brltty", "brltty", "brltty.service",
		[]string{"ttyUSB"},
		false,
		"it takes adapters with the numbers of Braille displays, such as CH340: remove it if there is none",
	},
}

// Around returns a line for each thing that the services need of the machine and that is
// not as it should be, on the machine whose root is given: devices that are not there,
// what else may take them, and what is in lacks.
func (c *Config) Around(root string) []string {
	lines := c.DevicesAway()
	for _, s := range c.Services {
		name, _ := s.Device()
		if strings.HasPrefix(name, "/dev/") {
			for _, line := range takers(root, name) {
				lines = append(lines, fmt.Sprintf("service %s: %s %s", s.Name, name, line))
			}
		}
		lines = append(lines, s.lacks(root)...)
	}
	return lines
}

// takers returns what may take the device besides us.
func takers(root, name string) (lines []string) {
	node := filepath.Base(name)
	if file, err := filepath.EvalSymlinks(filepath.Join(root, name)); err == nil {
		node = filepath.Base(file)
	}
	linked := strings.HasPrefix(name, "/dev/serial/") && node == filepath.Base(name) // it is not there, so nobody knows which it will be
	for _, r := range rivals {
		mine := linked || slices.ContainsFunc(r.prefixes, func(p string) bool { return strings.HasPrefix(node, p) })
		if mine && r.installed(root) && !(r.heeds && left(root, name)) {
			lines = append(lines, "may be taken by "+r.name+", which is installed: "+r.cure)
		}
	}
	getty := "serial-getty@" + node + ".service"
	for _, folder := range []string{"/etc/systemd/system", "/run/systemd/generator", "/run/systemd/system", "/usr/lib/systemd/system"} {
		if exists(root, folder+"/getty.target.wants/"+getty) && !masked(root, getty) {
			lines = append(lines, "has a login prompt, "+getty+": systemctl mask --now "+getty)
			break
		}
	}
	if slices.Contains(consoles(root), node) {
		lines = append(lines, "is a console of the kernel, which writes its messages there: see console= in /proc/cmdline")
	}
	return lines
}

func (r rival) installed(root string) bool {
	at := slices.ContainsFunc([]string{"/usr/sbin/", "/usr/bin/", "/sbin/", "/bin/"}, func(dir string) bool { return exists(root, dir+r.program) })
	return at && !masked(root, r.unit)
}

// left reports whether udev tells ModemManager to leave the device alone. The database of
// udev has a file for each device number.
func left(root, name string) bool {
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(root, name), &st); err != nil {
		return false
	}
	known, _ := os.ReadFile(filepath.Join(root, fmt.Sprintf("/run/udev/data/c%d:%d", unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev)))))
	return strings.Contains(string(known), "\nE:ID_MM_DEVICE_IGNORE=1\n") || strings.Contains(string(known), "\nE:ID_MM_PORT_IGNORE=1\n")
}

// masked reports whether a unit is masked: a link to nothing in its place.
func masked(root, unit string) bool {
	for _, folder := range []string{"/etc/systemd/system/", "/run/systemd/system/"} {
		if to, err := os.Readlink(filepath.Join(root, folder, unit)); err == nil && to == os.DevNull {
			return true
		}
	}
	return false
}

// consoles returns the names of the kernel's consoles.
func consoles(root string) []string {
	text, _ := os.ReadFile(filepath.Join(root, "/sys/class/tty/console/active")) // there may be none
	return strings.Fields(string(text))
}

// exists reports whether there is such a file, or a link with that name.
func exists(root, name string) bool {
	_, err := os.Lstat(filepath.Join(root, name))
	return err == nil
}
