// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// What a service needs of the machine whose root is given, and what is no mistake: the
// file may be checked on another machine, or before the packages that it names are there.

// lacks returns a line for each thing that the service lacks there.
func (s *Service) lacks(root string) (lines []string) {
	say := func(format string, args ...any) {
		lines = append(lines, fmt.Sprintf("service "+s.Name+": "+format, args...))
	}
	for _, a := range s.Listen {
		if a.Path == "" || a.Path[0] == '@' {
			continue
		}
		if info, err := os.Lstat(filepath.Join(root, a.Path)); err == nil && info.Mode().Type() != fs.ModeSocket {
			say("%s is there and is no socket, so nobody can listen on it", a.Path)
		}
	}
	for _, owner := range []struct {
		key, name, what, file string
		all                   func() (map[string]string, error)
	}{
		{"socket_user", s.SocketUser, "user", passwd, readUsers},
		{"socket_group", s.SocketGroup, "group", groupFile, readGroups},
	} {
		if _, err := strconv.ParseUint(owner.name, 10, 32); owner.name == "" || err == nil {
			continue
		}
		if _, err := lookupID(owner.what, owner.name, owner.file, owner.all); err != nil {
			say("%s: %v", owner.key, err)
		}
	}
	for _, program := range s.Programs() {
		info, err := os.Stat(filepath.Join(root, program))
		switch {
		case err == nil && !info.Mode().IsRegular():
			say("%s is no program, and cannot be started", program)
		case err == nil && info.Mode()&0o111 == 0:
			say("%s is not executable, and cannot be started", program)
		case !errors.Is(err, fs.ErrNotExist):
		case program == Getent:
			say("%s is not there, and names cannot be looked up without (Debian: libc-bin)", program)
		default:
			say("%s is not there, and cannot be started", program)
		}
	}
	return lines
}
