// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/unit"
)

// Two sockets can have the same file, through a symbolic link. The socket that was
// bound last has replaced the file of the other, which still listens but cannot be
// reached:
//
//	/run/x.sock        penstock-a.socket   listens, and has lost its file
//	/etc/link/x.sock   penstock-b.socket   has the file
//
// So when one of them is removed, the other is bound anew, unless it is known to have
// the file. On a kernel without sock_diag(7) that is not known.

// lost returns the sockets that share their file with a removed socket, as a map from
// the name to the file. It must be called before the links can change.
func (a *Applier) lost(before, now []unit.File, want wanted, h host) map[string]string {
	type removed struct{ name, path string }
	gone := map[string][]removed{} // by real path
	stays := map[string]bool{}
	for _, path := range unit.SocketFiles(now) {
		stays[path] = true
	}
	for _, f := range before {
		for _, path := range unit.SocketFiles([]unit.File{f}) {
			if real := a.realPath(path); !stays[path] {
				gone[real] = append(gone[real], removed{f.Name, path})
			}
		}
	}
	lost := map[string]string{}
	if len(gone) == 0 {
		return lost
	}
	for name, w := range want {
		for _, address := range h.addresses(name, w) {
			at, err := config.ParseAddress(address)
			if err != nil || !strings.HasPrefix(at.Path, "/") || h.owned[at.Path] {
				continue
			}
			for _, r := range gone[a.realPath(at.Path)] {
				if r.name != name {
					lost[name] = r.path
				}
			}
		}
	}
	return lost
}

// clear removes the files of removed Unix sockets. The manager would remove only what
// the unit says now, so it leaves a file behind if the unit is gone or has another
// address. clear keeps a file on which somebody listens, and a file that another
// socket has too.
func (a *Applier) clear(before, now []unit.File) error {
	stays := map[string]bool{}
	for _, path := range unit.SocketFiles(now) {
		stays[a.realPath(path)] = true
	}
	left := slices.DeleteFunc(unit.SocketFiles(before), func(path string) bool {
		return stays[a.realPath(path)]
	})
	if len(left) == 0 {
		return nil
	}
	ls, _, err := readListeners(a.Root) // late, so that a successor is seen
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range left {
		if len(ls[path]) == 0 && reachable(a.Root, path) {
			a.say("remove %s", path)
			errs = append(errs, os.Remove(filepath.Join(a.Root, path)))
		}
	}
	return errors.Join(errs...)
}

// realPath returns the path below the root without links in its folder.
func (a *Applier) realPath(path string) string {
	path = filepath.Join(a.Root, path)
	folder, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return path
	}
	return filepath.Join(folder, filepath.Base(path))
}
