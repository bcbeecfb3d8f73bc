// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"bytes"
	"errors"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// A File follows one name. One goroutine at a time may use it.
//
//	         opened                      a later file holds something, and this one
//	absent ─────────► followed ──┐       was read to its end
//	   ▲                 │  ▲    └──────────────────────────► followed (Replaced)
//	   │ deleted, read   │  │
//	   └─────────────────┘  └── shorter, or other bytes before the offset (Truncated)
//
// A rotation first gives the name to a new file, and then tells the program that
// writes. What the program writes in between still goes to the old file. So a new one,
// which is opened when it is first seen, has to wait until it holds something: then
// the program has turned to it, and the old one is read to its end first. Which files
// there are is found out before that reading, so that nothing is written to the old
// file between the two.
//
// A file that was cut to nothing and has grown again looks like one that has just
// grown. The last bytes that were read tell the two apart (Place.Mark). They are
// compared after each reading, so that what was read before a cut and after it is
// never joined.
type File struct {
	path  string
	lines int // to begin with
	bound int // of these, in bytes

	files []opened // in the order in which they had the name; the first is followed
	at    Place    // in it
	begin begin
	from  Place // for beginPlace

	queue   int // inotify
	folders []folder
	due     bool // the last look said so
	stale   bool // the folders are to be watched anew
	linked  bool // the name is a link
	unmet   int  // times that a file got the name, by the events, less files that were opened
	missed  int  // for the next Found

	pause func() // for tests: other processes do something now
}

// An opened is a file that has or had the name.
type opened struct {
	fd int
	wd int32
	id Place // without an offset
}

// A Place is where in which file the next byte is.
type Place struct {
	Dev, Ino uint64
	Offset   int64
	Mark     []byte // the last bytes before Offset, at most markSize
}

// markSize is enough that two lines of a log, with time and number, differ in it.
const markSize = 256

// After returns the place behind data, which begins at p.
func (p Place) After(data []byte) Place {
	p.Offset += int64(len(data))
	mark := data[max(0, len(data)-markSize):]
	if missing := markSize - len(mark); missing > 0 {
		mark = append(bytes.Clone(p.Mark[max(0, len(p.Mark)-missing):]), mark...)
	}
	p.Mark = bytes.Clone(mark)
	return p
}

// An Event is what has happened to the file before the data of a look. The bytes
// before an event are a file that is complete.
type Event uint8

// The events.
const (
	None Event = iota
	Opened
	Replaced  // another file has the name
	Truncated // the file was emptied, and is read from its beginning
	Gone      // it was deleted, and none has the name
)

// Found is what a look has found.
type Found struct {
	Event Event
	Start Place  // of Data
	Data  []byte // the caller's; at most chunk bytes

	// Missed is how many files got the name and lost it again before they could be
	// opened. A file that is moved away and back counts as one as well.
	Missed int

	More bool  // another look is due now, and not only at the next event
	Err  error // why nothing can be read; os.ErrNotExist: the file is awaited
}

// chunk bounds what a look reads.
const chunk = 16 << 10

// New returns a File that begins before the last lines of the file, in the last bound
// bytes, or at the beginning of a file that comes later. Its queue of events is to be
// watched. The error is that of inotify_init1(2).
func New(path string, lines, bound int) (*File, error) {
	queue, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	return &File{path: path, lines: lines, bound: bound, queue: queue, due: true}, nil
}

// Queue returns the descriptor that is readable when a look is due.
func (f *File) Queue() int { return f.queue }

// Close releases everything.
func (f *File) Close() {
	for len(f.files) > 0 {
		f.leave()
	}
	_ = unix.Close(f.queue)
}

// Look reads what has come. It blocks for as long as the disk does.
func (f *File) Look() (found Found) {
	news := f.drain()
	if !news.due && !f.due {
		return Found{}
	}
	f.unmet += news.named
	f.stale = f.stale || news.folders || f.folders == nil
	if f.stale {
		if err := f.watch(); err != nil {
			f.due = true
			return Found{Err: err}
		}
		f.stale = false
	}
	f.paused()
	if len(f.files) == 0 {
		found = f.open()
	} else {
		found = f.read()
	}
	found.Missed, f.missed = f.missed, 0
	f.due = found.More || found.Err != nil && !errors.Is(found.Err, os.ErrNotExist)
	return found
}

func (f *File) paused() {
	if f.pause != nil {
		f.pause()
	}
}

// read reads on in the file that is followed.
func (f *File) read() Found {
	absent, trouble := f.meet() // the followed file is read to its end all the same
	over := f.over()
	f.paused()
	var is unix.Stat_t
	fd := f.files[0].fd
	if err := unix.Fstat(fd, &is); err != nil {
		return Found{Err: os.NewSyscallError("fstat", err)}
	}
	data := make([]byte, min(max(is.Size-f.at.Offset, 0), chunk))
	n, err := pread(fd, data, f.at.Offset)
	if err != nil {
		return Found{Err: err}
	}
	f.paused()
	whole, err := same(fd, f.at)
	switch {
	case err != nil:
		return Found{Err: err}
	case !whole || is.Size < f.at.Offset:
		f.at = f.files[0].id
		return Found{Event: Truncated, Start: f.at, More: true}
	case n > 0:
		found := Found{Start: f.at, Data: data[:n], More: n == chunk || over || trouble != nil}
		f.at = f.at.After(data[:n])
		return found
	case over:
		f.leave()
		f.at = f.files[0].id
		return Found{Event: Replaced, Start: f.at, More: true}
	case trouble != nil:
		return Found{Err: trouble}
	case absent && is.Nlink == 0 && len(f.files) == 1:
		f.leave()
		f.begin = beginStart
		return Found{Event: Gone, Err: &os.PathError{Op: "open", Path: f.path, Err: unix.ENOENT}} // what the next look says
	}
	return Found{}
}

// mostFiles bounds how many files may wait to be read. Each has been given the name and
// has lost it again, while the followed one was still written to.
const mostFiles = 8

// meet opens the file that has the name, if it is a new one, and reports whether none
// has it.
func (f *File) meet() (absent bool, err error) {
	var is unix.Stat_t
	if err := retry(func() error { return unix.Stat(f.path, &is) }); err != nil {
		if absent = err == unix.ENOENT; absent {
			f.dangles()
		}
		return absent, nil
	}
	if f.known(is) {
		f.settle()
		return false, nil
	}
	if len(f.files) == mostFiles || is.Mode&unix.S_IFMT != unix.S_IFREG {
		return false, nil
	}
	fd, is, err := openRegular(f.path)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, errNotRegular) {
		return false, nil // it has just gone again
	}
	if err != nil {
		return false, err
	}
	if f.known(is) {
		_ = unix.Close(fd)
		return false, nil
	}
	return false, f.follow(fd, is)
}

// settle counts the files that were missed. It is called when the file that has the name
// is open: then whatever else got the name, and was not opened, has lost it again. There
// are more files than events after a resumption and where a folder came with its file.
func (f *File) settle() {
	f.missed += max(f.unmet, 0)
	f.unmet = 0
}

// dangles is called when nothing has the name. A link may be there before its file, and both
// get a name then.
func (f *File) dangles() {
	if f.linked {
		f.unmet = 0
	}
}

func (f *File) known(is unix.Stat_t) bool {
	return slices.ContainsFunc(f.files, func(o opened) bool { return sameFile(is, o.id) })
}

// over reports whether one of the later files holds something.
func (f *File) over() bool {
	return slices.ContainsFunc(f.files[1:], func(o opened) bool {
		var is unix.Stat_t
		return unix.Fstat(o.fd, &is) == nil && is.Size > 0
	})
}

// follow adds an open file as the last one. It owns fd.
func (f *File) follow(fd int, is unix.Stat_t) error {
	wd, err := f.watchFile(fd)
	if err != nil {
		_ = unix.Close(fd)
		return err
	}
	f.files = append(f.files, opened{fd, wd, placeOf(is)})
	f.unmet--
	return nil
}

// leave lets go of the followed file.
func (f *File) leave() {
	o := f.files[0]
	f.files = slices.Delete(f.files, 0, 1)
	f.unwatch(o.wd)
	_ = unix.Close(o.fd)
}

// same reports whether the bytes before a place are those that were read.
func same(fd int, at Place) (bool, error) {
	now := make([]byte, len(at.Mark))
	n, err := pread(fd, now, at.Offset-int64(len(now)))
	return bytes.Equal(now[:n], at.Mark), err
}

// pread reads p, or as much as there is.
func pread(fd int, p []byte, at int64) (n int, err error) {
	for n < len(p) {
		var k int
		err := retry(func() (err error) { k, err = unix.Pread(fd, p[n:], at+int64(n)); return err })
		if err != nil {
			return n, os.NewSyscallError("pread64", err)
		}
		if k == 0 {
			break
		}
		n += k
	}
	return n, nil
}

// retry calls again what a signal has interrupted.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
