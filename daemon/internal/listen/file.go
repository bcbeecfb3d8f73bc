// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
)

// The file of a Unix socket: make its folders, set its owner, remove one that a former
// process has left behind, and remove our own at the end.

// errInUse says that another process serves a Unix socket of that name. It wraps the
// error of bind(2), so that a caller can treat both alike.
var errInUse = fmt.Errorf("another process is serving it: %w", unix.EADDRINUSE)

// makeFolders makes the missing folders of path. Their mode is 0755, whatever the
// umask is, as with DirectoryMode= in systemd.socket(5): clients that may not enter
// the folder could not use the socket.
func makeFolders(path string) error {
	err := os.Mkdir(path, 0o755)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeFolders(filepath.Dir(path)); err != nil {
			return err
		}
		err = os.Mkdir(path, 0o755)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil // if it is a file, bind reports it
	}
	if err != nil {
		return err
	}
	return os.Chmod(path, 0o755)
}

func setOwner(path string, mode uint32, uid, gid int) error {
	if uid >= 0 || gid >= 0 {
		if err := unix.Lchown(path, uid, gid); err != nil {
			return os.NewSyscallError("lchown", err)
		}
	}
	return os.NewSyscallError("chmod", unix.Chmod(path, mode))
}

// owner looks socket_user and socket_group up; -1 leaves that one alone.
func owner(s *config.Service) (uid, gid int, err error) {
	uid, gid = -1, -1
	if s.SocketUser != "" {
		if uid, err = strconv.Atoi(s.SocketUser); err != nil {
			u, err := user.Lookup(s.SocketUser)
			if err != nil {
				return -1, -1, fmt.Errorf("socket_user: %w", err)
			}
			uid, _ = strconv.Atoi(u.Uid)
		}
	}
	if s.SocketGroup != "" {
		if gid, err = strconv.Atoi(s.SocketGroup); err != nil {
			g, err := user.LookupGroup(s.SocketGroup)
			if err != nil {
				return -1, -1, fmt.Errorf("socket_group: %w", err)
			}
			gid, _ = strconv.Atoi(g.Gid)
		}
	}
	return uid, gid, nil
}

// removeStale removes the socket file of a process that has ended, and nothing else.
// It uses connect(2) to see whether the socket is still served. A file that is not a
// socket is left alone, since it is somebody's data.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s: exists and is not a socket", path)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	switch err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); {
	case err == nil, errors.Is(err, unix.EAGAIN): // EAGAIN: its backlog is full
		return errInUse
	case !errors.Is(err, unix.ECONNREFUSED):
		return os.NewSyscallError("connect", err)
	}
	return os.NewSyscallError("unlink", unix.Unlink(path))
}

// A socketFile is a path that this process has bound, with the inode of its file. By
// the inode a file that another process has put there since is recognised and not
// removed.
type socketFile struct {
	path     string
	dev, ino uint64
}

func newSocketFile(path string) (socketFile, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return socketFile{}, os.NewSyscallError("lstat", err)
	}
	return socketFile{path, uint64(st.Dev), st.Ino}, nil
}

// present reports whether the file is still the one that was bound. No other file gets
// its inode as long as the socket is open. err is not nil if the file cannot be looked
// at.
func (f socketFile) present() (ours bool, err error) {
	var st unix.Stat_t
	switch err := unix.Lstat(f.path, &st); err {
	case nil:
		return uint64(st.Dev) == f.dev && st.Ino == f.ino, nil
	case unix.ENOENT, unix.ENOTDIR:
		return false, nil
	default:
		return false, os.NewSyscallError("lstat", err)
	}
}

// remove unlinks the file if it is still the one that was bound.
func (f socketFile) remove() {
	if ours, _ := f.present(); ours {
		_ = unix.Unlink(f.path)
	}
}
