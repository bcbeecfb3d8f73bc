// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// pidfdID returns the number that tells pid from every other process since
// boot, and false where the kernel has none (pidfs came with 6.9).
//
// On 64-bit kernels it is the inode number of the pidfd. On 32-bit ones the
// inode number is only half of it, so the file handle is read first, which
// holds all of it (kernel 6.14, fs/pidfs.c).
func pidfdID(pid int) (uint64, bool) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return 0, false
	}
	defer unix.Close(fd)
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil || uint32(fs.Type) != unix.PID_FS_MAGIC {
		return 0, false // an anonymous inode, the same for all processes
	}
	if h, _, err := unix.NameToHandleAt(fd, "", unix.AT_EMPTY_PATH); err == nil && h.Size() == 8 {
		return binary.NativeEndian.Uint64(h.Bytes()), true
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || ^uint(0)>>32 == 0 {
		return 0, false
	}
	return st.Ino, true
}
