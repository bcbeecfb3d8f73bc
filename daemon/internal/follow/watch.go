// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Two things are watched: the file that is followed, for what is written to it, and
// every folder in which a name on the way to it may become another file. A link is such
// a name, and so is a folder that is not there yet, in the nearest one that is:
//
//	/var/log/app.log ─► /data/logs/7/app.log      watched: app.log in /var/log
//	                                                       app.log in /data/logs/7
//	                    /data/logs/7 is missing:           7 in /data/logs
//
// The folders above are watched for one thing only, that they are moved away themselves.
//
// A watch is set before one looks at what it watches, so that there is no moment whose
// changes are neither seen nor told. Names of no concern in a folder wake the daemon,
// but cause no look.

// A folder is a watch, and the name in it that matters.
type folder struct {
	wd    int32
	name  string
	names bool // a file, or a link to one, that gets the name is another file to follow
}

const (
	nameEvents   = unix.IN_CREATE | unix.IN_MOVED_TO
	selfEvents   = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR
	folderEvents = nameEvents | unix.IN_ATTRIB | selfEvents
	fileEvents   = unix.IN_MODIFY | unix.IN_ATTRIB | unix.IN_MOVE_SELF | unix.IN_DELETE_SELF
)

// mostLinks is how many links the kernel follows, and more (path_resolution(7)).
const mostLinks = 40

// watch sets the watches of the folders.
func (f *File) watch() error {
	var now []folder
	path := f.path
	f.linked = false
	for range mostLinks {
		some, err := f.watchFolder(filepath.Dir(path), filepath.Base(path))
		if err != nil {
			return err
		}
		now = append(now, some...)
		to, err := os.Readlink(path)
		if err != nil {
			break
		}
		f.linked = true
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		path = to
	}
	was := f.folders
	f.folders = now
	for _, w := range was {
		f.unwatch(w.wd)
	}
	return nil
}

// watchFolder watches a name in a folder, or in the nearest folder above that there is,
// and the folders above that.
func (f *File) watchFolder(dir, name string) (all []folder, err error) {
	for names := true; ; names = false {
		wd, err := unix.InotifyAddWatch(f.queue, dir, folderEvents)
		if err == nil {
			all = append(all, folder{int32(wd), name, names})
			break
		}
		above := filepath.Dir(dir)
		if above == dir || err == unix.ENOSPC || err == unix.ENOMEM {
			return nil, fmt.Errorf("watch %s: %w", dir, os.NewSyscallError("inotify_add_watch", err))
		}
		dir, name = above, filepath.Base(dir)
	}
	for above := filepath.Dir(dir); above != dir; dir, above = above, filepath.Dir(above) {
		if wd, err := unix.InotifyAddWatch(f.queue, above, selfEvents|unix.IN_MASK_ADD); err == nil {
			all = append(all, folder{wd: int32(wd), name: "/"}) // no name of an event
		}
	}
	return all, nil
}

// watchFile watches an open file. By its name it could be another one by now.
func (f *File) watchFile(fd int) (wd int32, err error) {
	n, err := unix.InotifyAddWatch(f.queue, "/proc/self/fd/"+strconv.Itoa(fd), fileEvents)
	if err != nil {
		return -1, fmt.Errorf("watch %s: %w", f.path, os.NewSyscallError("inotify_add_watch", err))
	}
	return int32(n), nil
}

// unwatch ends a watch that nothing else uses: one file has only one.
func (f *File) unwatch(wd int32) {
	if !f.isFile(wd) && !slices.ContainsFunc(f.folders, func(w folder) bool { return w.wd == wd }) {
		_, _ = unix.InotifyRmWatch(f.queue, uint32(wd)) // EINVAL: what it watched is gone
	}
}

func (f *File) isFile(wd int32) bool {
	return slices.ContainsFunc(f.files, func(o opened) bool { return o.wd == wd })
}

// news is what the events were about.
type news struct {
	due     bool // something that matters
	folders bool // the folders on the way may be others
	named   int  // times that a file got the name
}

// drain takes all events out of the queue, so that the next one is told.
func (f *File) drain() (n news) {
	var buf [4096]byte
	for {
		k, err := unix.Read(f.queue, buf[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || k <= 0 {
			return n
		}
		for p := buf[:k]; len(p) >= unix.SizeofInotifyEvent; {
			wd, mask := int32(binary.NativeEndian.Uint32(p)), binary.NativeEndian.Uint32(p[4:])
			size := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(p[12:]))
			name := strings.TrimRight(string(p[unix.SizeofInotifyEvent:size]), "\x00")
			p = p[size:]
			f.judge(&n, wd, mask, name)
		}
	}
}

// judge adds an event to the news.
func (f *File) judge(n *news, wd int32, mask uint32, name string) {
	switch {
	case mask&unix.IN_Q_OVERFLOW != 0: // look at everything anew
		n.due, n.folders = true, true
	case mask&unix.IN_IGNORED != 0: // the watch is over
		if slices.ContainsFunc(f.folders, func(w folder) bool { return w.wd == wd }) {
			n.due, n.folders = true, true
		}
	case f.isFile(wd):
		n.due = true
	default:
		for _, w := range f.folders {
			if w.wd == wd && (name == "" || name == w.name) {
				n.due, n.folders = true, true
				if w.names && mask&nameEvents != 0 && mask&unix.IN_ISDIR == 0 {
					n.named++
				}
			}
		}
	}
}
