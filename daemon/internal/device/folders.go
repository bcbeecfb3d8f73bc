// SPDX-License-Identifier: Apache-2.0

package device

import (
	"encoding/binary"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"penstock/evloop"
)

// Folders watches the folders on the way to the devices of a loop, by inotify(7). The
// sandbox of the service has no netlink on which udev speaks. All folders are watched that
// are there, since udev makes /dev/serial/by-id with the first device and removes it after
// the last. A change of attributes counts too: a device appears as root's, and its group
// comes later. Without a watch the timer alone notices the device.
//
// All devices have one queue of events. With one for each, a file of 128 ports takes all
// that a user may have (fs.inotify.max_user_instances), and none is left for a log file. So
// the watch of a folder belongs to all devices that are looked for through it, and goes
// with the last of them. Only the kernel knows then whether a goroutine has added a watch or
// got one that was there: until it has said which, none is removed, and the queue stays
// open, whose number would be another's.
type Folders struct {
	loop    *evloop.Loop
	mu      sync.Mutex // for the end of the loop: a goroutine may come back when it has gone
	fd      int        // -1: none
	watch   *evloop.Watch
	devices []*Device // that are told; none: there is no queue, or soon none
	adding  int       // goroutines that add watches
	watches []int     // that there are
}

// NewFolders returns the Folders of a loop. It holds nothing before a device starts and
// after the last one has ended. Loop goroutine only.
func NewFolders(loop *evloop.Loop) *Folders { return &Folders{loop: loop, fd: -1} }

// join has d told.
func (f *Folders) join(d *Device) {
	f.devices = append(f.devices, d)
	if f.fd >= 0 {
		return
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return
	}
	w, err := f.loop.Watch(fd, unix.EPOLLIN, f)
	if err != nil {
		_ = unix.Close(fd)
		return
	}
	f.fd, f.watch = fd, w
}

// leave has d told no more. live says that the loop is there.
func (f *Folders) leave(d *Device, live bool) {
	i := slices.Index(f.devices, d)
	if i < 0 {
		return
	}
	d.changed = false
	f.mu.Lock()
	defer f.mu.Unlock()
	f.devices = slices.Delete(f.devices, i, i+1)
	f.clean(live)
}

// abandoned is added for a goroutine whose result the loop has not lived to see. Any
// goroutine may call it.
func (f *Folders) abandoned() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.adding--
	f.clean(false)
}

// added takes what a goroutine has found on the way to d. Whoever starts one counts it in
// adding before.
func (f *Folders) added(d *Device, w way) {
	f.adding--
	for _, wd := range w.watches {
		if !slices.Contains(f.watches, wd) {
			f.watches = append(f.watches, wd)
		}
	}
	d.way = w
	f.clean(true)
}

// clean removes the watches that nobody needs, or the queue if there is no device.
func (f *Folders) clean(live bool) {
	if f.fd < 0 || f.adding > 0 {
		return
	}
	if len(f.devices) > 0 {
		f.watches = slices.DeleteFunc(f.watches, f.remove)
		return
	}
	if live {
		f.watch.Close()
	}
	_ = unix.Close(f.fd)
	f.fd, f.watches = -1, nil
}

// remove removes a watch, unless a device needs it.
func (f *Folders) remove(wd int) bool {
	for _, d := range f.devices {
		if slices.Contains(d.way.watches, wd) {
			return false
		}
	}
	_, _ = unix.InotifyRmWatch(f.fd, uint32(wd)) // the kernel has done it if the folder is gone
	return true
}

// folderReads bounds the work of a turn; a read takes about a hundred changes.
const folderReads = 8

// Ready reads what has changed.
func (f *Folders) Ready(*evloop.Watch, uint32) {
	var buf [4096]byte
	for range folderReads {
		if f.fd < 0 {
			return
		}
		n, err := unix.Read(f.fd, buf[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			f.tell()
			return
		}
		f.note(buf[:n])
	}
	f.loop.Post(func() { f.Ready(f.watch, 0) }) // no other edge will say so
	f.tell()
}

// note finds out which devices the changes in b may be about. Before its first attempt
// nothing is known of a device, and everything may be.
func (f *Folders) note(b []byte) {
	for len(b) >= unix.SizeofInotifyEvent {
		mask := binary.NativeEndian.Uint32(b[4:])
		size := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(b[12:]))
		if len(b) < size {
			return
		}
		name, _, _ := strings.Cut(string(b[unix.SizeofInotifyEvent:size]), "\x00")
		for _, d := range f.devices {
			if mask&unix.IN_Q_OVERFLOW != 0 || d.way.names == nil || slices.Contains(d.way.names, name) {
				d.changed = true
			}
		}
		b = b[size:]
	}
}

// tell tells the devices that note has found.
func (f *Folders) tell() {
	for _, d := range slices.Clone(f.devices) {
		if d.changed {
			d.changed = false
			d.advance(seen)
		}
	}
}

// A way is what leads to a device.
type way struct {
	names   []string // that matter: each in its path, and that of the device
	watches []int    // of the folders that are there
}

// watchFolders watches those folders on the way to path that are there, and those on the
// way to the device if path is a link to it. The kernel watches no folder twice.
func watchFolders(fd int, path string) (w way) {
	const changes = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_ATTRIB | unix.IN_ONLYDIR
	add := func(path string) {
		for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
			if dir == "/" && filepath.Dir(path) != "/" {
				return
			}
			if wd, err := unix.InotifyAddWatch(fd, dir, changes); err == nil {
				w.watches = append(w.watches, wd)
			}
			if dir == "/" {
				return
			}
		}
	}
	add(path)
	w.names = strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	if to, err := filepath.EvalSymlinks(path); err == nil && to != path {
		add(to)
		w.names = append(w.names, filepath.Base(to))
	}
	return w
}
