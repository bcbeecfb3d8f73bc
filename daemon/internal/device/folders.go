// SPDX-License-Identifier: Apache-2.0

package device

import (
	"encoding/binary"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"penstock/evloop"
)

// folders watches the folders on the way to a device, by inotify(7). The sandbox of the
// service has no netlink on which udev speaks. All folders are watched that are there,
// since udev makes /dev/serial/by-id with the first device and removes it after the last.
// A change of attributes counts too: a device appears as root's, and its group comes
// later. Without a watch the timer alone notices the device.
type folders struct {
	d     *Device
	fd    int // -1: none
	watch *evloop.Watch
	names []string // what counts
}

func (f *folders) open(d *Device) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return
	}
	w, err := d.loop.Watch(fd, unix.EPOLLIN, f)
	if err != nil {
		_ = unix.Close(fd)
		return
	}
	f.d, f.fd, f.watch = d, fd, w
}

// close ends the watch. live says that the loop is there.
func (f *folders) close(live bool) {
	if f.fd >= 0 {
		if live {
			f.watch.Close()
		}
		_ = unix.Close(f.fd)
		f.fd = -1
	}
}

// folderReads bounds the work of a turn; a read takes about a hundred changes.
const folderReads = 8

// Ready reads what has changed.
func (f *folders) Ready(*evloop.Watch, uint32) {
	var buf [4096]byte
	found := false
	for range folderReads {
		if f.fd < 0 {
			return
		}
		n, err := unix.Read(f.fd, buf[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			if found {
				f.d.advance(seen)
			}
			return
		}
		found = found || f.counts(buf[:n])
	}
	f.d.loop.Post(func() { f.Ready(f.watch, 0) }) // no other edge will say so
	if found {
		f.d.advance(seen)
	}
}

// counts reports whether a change in b may be about the device. Before the first attempt
// nothing is known, and everything may.
func (f *folders) counts(b []byte) bool {
	for len(b) >= unix.SizeofInotifyEvent {
		mask := binary.NativeEndian.Uint32(b[4:])
		size := int(binary.NativeEndian.Uint32(b[12:]))
		if len(b) < unix.SizeofInotifyEvent+size {
			return true
		}
		name, _, _ := strings.Cut(string(b[unix.SizeofInotifyEvent:unix.SizeofInotifyEvent+size]), "\x00")
		if mask&unix.IN_Q_OVERFLOW != 0 || f.names == nil || slices.Contains(f.names, name) {
			return true
		}
		b = b[unix.SizeofInotifyEvent+size:]
	}
	return false
}

// watchFolders watches those folders on the way to path that are there, and those on the
// way to the device if path is a link to it. It returns the names in them that matter:
// each name in path, and that of the device. The kernel watches no folder twice.
func watchFolders(fd int, path string) (names []string) {
	const changes = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_ATTRIB | unix.IN_ONLYDIR
	add := func(path string) {
		for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
			if dir == "/" && filepath.Dir(path) != "/" {
				return
			}
			if fd >= 0 {
				_, _ = unix.InotifyAddWatch(fd, dir, changes)
			}
			if dir == "/" {
				return
			}
		}
	}
	add(path)
	names = strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	if to, err := filepath.EvalSymlinks(path); err == nil && to != path {
		add(to)
		names = append(names, filepath.Base(to))
	}
	return names
}
