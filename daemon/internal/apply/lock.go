// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lockFile is in /run, so it is gone after a boot. Only its owner can read it, because
// a user that can open it could lock out every apply.
const lockFile = "run/penstock/apply.lock"

// Lock waits until no other apply runs on the machine with this root. If it must wait,
// it says so on out. Two at a time, for example of an administrator and of a package
// upgrade, would each restart the sockets that the other has just opened. Take the
// lock before the configuration is read. It ends when release is called or the
// process ends.
func Lock(root string, out io.Writer) (release func(), err error) {
	path := filepath.Join(root, lockFile)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		fmt.Fprintln(out, "another penstock apply is under way, waiting for it")
		for err = unix.EINTR; errors.Is(err, unix.EINTR); {
			err = unix.Flock(fd, unix.LOCK_EX)
		}
	}
	if err != nil {
		unix.Close(fd)
		return nil, &os.PathError{Op: "flock", Path: path, Err: err}
	}
	return func() { unix.Close(fd) }, nil
}
