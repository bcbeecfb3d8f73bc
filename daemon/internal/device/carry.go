// SPDX-License-Identifier: Apache-2.0

package device

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/tty"
	"penstock/evloop"
)

// At a restart the next process goes on with the open device: no line of the cable moves,
// and what the device says meanwhile waits in the kernel.
//
//	Flush ─► Hand             │     Carry ─► Start
//	 output    a duplicate    │      another duplicate, or none
//	         old process      │     new process

// Flush calls done when the device has taken all that was written to it, at the latest
// after timeout.
func (d *Device) Flush(timeout time.Duration, done func()) {
	end := d.loop.Now().Add(timeout)
	f := &flush{d: d, end: end, done: done}
	f.Expired(d.loop, evloop.Timer{})
}

// A flush is a Flush under way.
type flush struct {
	d    *Device
	end  evloop.Time
	done func()
}

// Expired looks how far it is.
func (f *flush) Expired(l *evloop.Loop, _ evloop.Timer) {
	if !f.d.Up() || f.d.conn.Queued() == 0 || l.Now() >= f.end {
		f.done()
		return
	}
	l.Schedule(evloop.Timer{Deadline: l.Now().Add(f.d.Times.Room), Handler: f})
}

// A Carried is what goes along with an open device.
type Carried struct {
	Options string // under which it was opened, in words
	Before  []byte // how a line was set before that
}

// Hand returns a duplicate of the open device, which is the caller's, or -1 if it is not
// open. This process does not read from it any more, not even in the rest of this turn:
// what it read would be in no record.
func (d *Device) Hand() (int, Carried) {
	if !d.Up() {
		return -1, Carried{}
	}
	fd, err := unix.FcntlInt(uintptr(d.now.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, Carried{}
	}
	d.handed = true
	d.conn.Pause()
	return fd, Carried{words(d.filed), d.now.before.Bytes()}
}

// words are the same for the same options.
func words(o Options) string { return fmt.Sprintf("%+v", o) }

// Carry has Start go on with fd, which Hand has returned in the former process. It owns
// fd. If it was opened under other options, or is not what has the device's name now,
// Start closes it first and then opens the device: Carry reports whether it will go on.
func (d *Device) Carry(fd int, c Carried) bool {
	if d.life.state != idle || d.now.fd >= 0 {
		_ = unix.Close(fd) // never seen: a record names each service once, and before its start
		return false
	}
	var st, named unix.Stat_t
	o := d.wanted
	err := unix.Fstat(fd, &st)
	r := openDevice{fd: fd, use: new(sync.Mutex), path: o.Path, is: identityOf(&st), line: tty.Is(fd)}
	r.write = o.Write && st.Mode&unix.S_IFMT == unix.S_IFCHR
	if err == nil && r.line {
		if r.before, err = tty.SavedOf(c.Before); err == nil {
			d.first, d.firstOf = r.before, r.is
			r.refused = o.TTY.Refused(fd)
		}
	}
	other := unix.Stat(o.Path, &named) == nil && identityOf(&named) != r.is
	d.now, d.outdated = r, err != nil || other || words(d.filed) != c.Options
	return !d.outdated
}

// goOn adds a device that was carried to the loop.
func (d *Device) goOn() {
	if d.outdated {
		d.advance(outdated)
		return
	}
	d.told = true
	watch, path := d.folders.fd, d.now.path
	d.advance(carried)
	if !d.Up() {
		return
	}
	d.user.Up()
	d.folders.adding++
	go func() {
		w := watchFolders(watch, path)
		d.loop.PostOr(func() { d.folders.added(d, w) }, d.folders.abandoned)
	}()
}
