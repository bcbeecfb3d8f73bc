// SPDX-License-Identifier: Apache-2.0

package unit

import (
	"os"
	"path/filepath"
)

// An Override says whether the administrator has a unit of a generated name.
type Override uint8

// What there can be.
const (
	None   Override = iota
	Own             // a unit file of his own
	Masked          // a link to /dev/null, or an empty file
)

// ownFolders hold what an administrator, or a program on his behalf, makes.
// They rank above the generator's folder, the first above the second and so
// on (systemd.unit(5), Unit File Load Path).
var ownFolders = []string{
	"etc/systemd/system.control", "run/systemd/system.control",
	"etc/systemd/system", "run/systemd/system",
}

// Overrides returns a function that looks units up below root, "/" but for
// tests. Drop-ins of the administrator need no look: the manager merges them
// with a generated unit as with any other.
func Overrides(root string) func(name string) Override {
	return func(name string) Override {
		for _, folder := range ownFolders {
			path := filepath.Join(root, folder, name)
			if to, err := os.Readlink(path); err == nil && to == os.DevNull {
				return Masked
			}
			fi, err := os.Stat(path)
			switch {
			case err != nil:
				continue
			case fi.Mode().IsRegular() && fi.Size() == 0:
				return Masked
			}
			return Own
		}
		return None
	}
}
