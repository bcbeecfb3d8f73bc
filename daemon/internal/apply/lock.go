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

// lockFile is in /run, so that it never outlives a boot, and readable by its
// owner alone: whoever can open it could keep everybody from applying.
const lockFile = "run/penstock/apply.lock"

// Lock waits until no other apply is under way on the machine whose root is
// given, and says so on out if it has to. Two at a time, of an administrator
// and of a package that is being configured, would each restart the sockets
// that the other has just opened. The lock is to be taken before the
// configuration is read, and ends when release is called or the process ends.
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
