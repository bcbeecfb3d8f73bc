// SPDX-License-Identifier: Apache-2.0

package device

import (
	"errors"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/tty"
)

// An openDevice is a device that was opened and set, or the reason why not.
type openDevice struct {
	err error
	fd  int         // ours; -1: none
	use *sync.Mutex // held while a goroutine uses fd, and for good when it is closed

	path    string
	write   bool
	line    bool // a terminal line
	before  tty.Saved
	refused []tty.Refusal
	is      identity
	way     way // where something has to change for another attempt
}

// An identity tells one file from another of the same name.
type identity struct{ dev, ino, rdev uint64 }

func identityOf(st *unix.Stat_t) identity { return identity{uint64(st.Dev), st.Ino, uint64(st.Rdev)} }

// What is no device.
var (
	errRegular = errors.New("is a regular file and no device")
	errKind    = errors.New("is no terminal line, FIFO or character device")
)

// open opens and sets the device of o. It may block, and belongs to no loop. Its folders
// are watched first: what changes after that is reported, so nothing is missed.
//
// A FIFO is opened for both directions, though it is only read. With a writer of our own,
// which never writes, it has no end when the last other writer leaves, and nobody finds
// it without a reader.
func open(o Options, watch int) openDevice {
	d := openDevice{fd: -1, path: o.Path, use: new(sync.Mutex)}
	d.way = watchFolders(watch, o.Path)
	var st unix.Stat_t
	if err := unix.Stat(o.Path, &st); err != nil {
		d.err = &fs.PathError{Op: "stat", Path: o.Path, Err: err}
		return d
	}
	flags := unix.O_RDWR
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFIFO:
	case unix.S_IFCHR:
		if d.write = o.Write; !o.Write {
			flags = unix.O_RDONLY
		}
	case unix.S_IFREG:
		d.err = errRegular
		return d
	default:
		d.err = errKind
		return d
	}
	fd, err := unix.Open(o.Path, flags|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		d.err = &fs.PathError{Op: "open", Path: o.Path, Err: err}
		return d
	}
	if d.err = d.set(fd, o, st.Mode&unix.S_IFMT); d.err != nil {
		_ = unix.Close(fd)
		return d
	}
	d.fd = fd
	return d
}

// set locks and sets what was opened. kind is what it has to be.
func (d *openDevice) set(fd int, o Options, kind uint32) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if st.Mode&unix.S_IFMT != kind {
		return errKind // another file has taken its name
	}
	d.is = identityOf(&st)
	if o.Exclusive {
		if err := tty.Lock(fd); err != nil {
			return err
		}
	}
	if kind != unix.S_IFCHR || !tty.Is(fd) {
		return nil
	}
	d.line = true
	var err error
	if d.before, err = tty.Save(fd); err != nil {
		return err
	}
	d.refused, err = tty.Configure(fd, o.TTY)
	return err
}

// drain is another function in a test: no line that it can have keeps its output.
var drain = tty.Drain

// letGo closes the last descriptor of a device that is not in the loop any more. It may
// block, and belongs to no loop. Only after a clean stop the settings come back: a device
// that is gone has none, and one that is opened anew gets others. loses is told how many
// bytes the driver had yet to send, and will not. That is before the close, which may wait
// for half a minute where a driver cannot discard what it has.
func (d *openDevice) letGo(restore bool, o Times, loses func(bytes int)) {
	d.use.Lock() // for good: see Control
	if d.line {
		loses(drain(d.fd, o.Flush))
		if restore {
			_ = d.before.Restore(d.fd) // the device may have gone in this moment
		}
	}
	tty.Unlock(d.fd)
	_ = unix.Close(d.fd)
}
