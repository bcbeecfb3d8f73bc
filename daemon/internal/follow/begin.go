// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A begin says where the next file that is opened is read from.
type begin uint8

const (
	beginLines    begin = iota // before its last lines
	beginStart                 // at its start: it was awaited
	beginReplaced              // the same, and it comes in place of another
	beginPlace                 // where a former process was
)

var errNotRegular = errors.New("not a regular file")

// Resume goes on at a place where a former process was. It is called before the first
// look. If another file has the name meanwhile, the one of that place is looked for
// beside it and read to its end first.
func (f *File) Resume(at Place) { f.begin, f.from = beginPlace, at }

// open opens the file that has the name.
func (f *File) open() Found {
	fd, is, err := openRegular(f.path)
	missing := errors.Is(err, os.ErrNotExist)
	if f.begin == beginPlace && (missing || err == nil && !sameFile(is, f.from)) {
		if old, was, there := f.former(); there {
			if err == nil {
				_ = unix.Close(fd)
			}
			return f.begun(old, was, f.from, None)
		}
		f.begin = beginReplaced
		f.missed++ // whatever the former process had not read of it
	}
	if missing {
		f.dangles()
	}
	if err != nil {
		if missing && f.begin == beginLines {
			f.begin = beginStart
		}
		return Found{Err: err}
	}
	at, event := placeOf(is), Opened
	switch f.begin {
	case beginReplaced:
		event = Replaced
	case beginPlace:
		at, event = f.from, None
	case beginLines:
		if at.Offset, err = lastLines(fd, is.Size, f.lines, int64(f.bound)); err != nil {
			_ = unix.Close(fd)
			return Found{Err: err}
		}
	}
	return f.begun(fd, is, at, event)
}

// begun follows fd from at.
func (f *File) begun(fd int, is unix.Stat_t, at Place, event Event) Found {
	if err := f.follow(fd, is); err != nil {
		return Found{Err: err}
	}
	f.at = at
	return Found{Event: event, Start: at, More: true}
}

// former opens the file of the place to resume, under whatever name it has in the
// folder now. A number of a file may be that of another one meanwhile, so its bytes
// have to be the same too.
func (f *File) former() (fd int, is unix.Stat_t, there bool) {
	folder := filepath.Dir(f.path)
	d, err := os.Open(folder)
	if err != nil {
		return -1, is, false
	}
	defer d.Close()
	names, _ := d.Readdirnames(mostNames)
	for _, name := range names {
		path := filepath.Join(folder, name)
		if unix.Lstat(path, &is) != nil || !sameFile(is, f.from) {
			continue
		}
		fd, is, err := openRegular(path)
		if err != nil {
			continue
		}
		if same, err := same(fd, f.from); err == nil && same && sameFile(is, f.from) {
			return fd, is, true
		}
		_ = unix.Close(fd)
	}
	return -1, is, false
}

// mostNames bounds the search in a folder.
const mostNames = 10000

func sameFile(is unix.Stat_t, p Place) bool {
	at := placeOf(is)
	return at.Dev == p.Dev && at.Ino == p.Ino
}

func placeOf(is unix.Stat_t) Place {
	return Place{Dev: uint64(is.Dev), Ino: uint64(is.Ino)}
}

// openRegular opens a regular file. Anything else may never end, or block.
func openRegular(path string) (fd int, is unix.Stat_t, err error) {
	err = retry(func() (err error) {
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
		return err
	})
	if err != nil {
		return -1, is, &os.PathError{Op: "open", Path: path, Err: err}
	}
	if err = unix.Fstat(fd, &is); err == nil && is.Mode&unix.S_IFMT != unix.S_IFREG {
		err = errNotRegular
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, is, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, is, nil
}

// lastLines returns where the last lines of a file of size bytes begin, in its last
// bound bytes. What follows the last LF is the beginning of a line that is still to
// come, and counts as none. Where the bound cuts a line, that one is left out.
func lastLines(fd int, size int64, lines int, bound int64) (int64, error) {
	block := make([]byte, chunk)
	begins := int64(-1) // of the earliest line that is known
	for end, least := size, max(size-bound, 0); end > least; {
		start := max(end-chunk, least)
		p := block[:end-start]
		n, err := pread(fd, p, start)
		if err != nil {
			return 0, err
		}
		for p = p[:n]; ; lines-- {
			i := bytes.LastIndexByte(p, '\n')
			if i < 0 {
				break
			}
			if begins = start + int64(i) + 1; lines == 0 {
				return begins, nil
			}
			p = p[:i]
		}
		end = start
	}
	switch {
	case size <= bound:
		return 0, nil // fewer lines than wanted
	case begins < 0:
		return size, nil // in the middle of a line that is longer than the bound
	}
	return begins, nil
}
