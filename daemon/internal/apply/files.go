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
// So when one of them is removed, the other is bound anew. It may have been the one
// with the file already, but neither the manager nor /proc says which one has it.

// lost returns the sockets that share their file with a removed socket, as a map from
// the name to the file. It must be called before the links can change.
func (a *Applier) lost(before, now []unit.File, want wanted, h host) map[string]string {
	stays := unit.SocketFiles(now)
	lost := map[string]string{}
	for _, f := range before {
		for _, path := range unit.SocketFiles([]unit.File{f}) {
			if slices.Contains(stays, path) {
				continue
			}
			gone := a.realPath(path)
			for name, w := range want {
				shares := func(address string) bool {
					other, err := config.ParseAddress(address)
					return err == nil && strings.HasPrefix(other.Path, "/") && a.realPath(other.Path) == gone
				}
				if name != f.Name && slices.ContainsFunc(h.addresses(name, w), shares) {
					lost[name] = path
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
	var errs []error
	for _, path := range unit.SocketFiles(before) {
		if stays[a.realPath(path)] || !reachable(a.Root, path) {
			continue
		}
		ls, err := readListeners(a.Root) // late, so that a successor is seen
		if err == nil && len(ls[path]) == 0 {
			a.say("remove %s", path)
			err = os.Remove(filepath.Join(a.Root, path))
		}
		errs = append(errs, err)
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
