// SPDX-License-Identifier: Apache-2.0

package device

import (
	"golang.org/x/sys/unix"

	"penstock/daemon/internal/tty"
)

// What is asked of an open line may take as long as a USB adapter takes to answer, so a
// goroutine does it. It holds the lock of the descriptor meanwhile, and whoever closes it
// takes that lock for good: so the number is never that of another file, and the settings
// that come back at a stop are the last that are made.
//
//	Control ─► output goes out ─► do ─► done
//	           loop               goroutine  loop

// Set has the line be set so from the next opening on, until Renew says otherwise. One that
// is just being opened is opened once more, since it may be set otherwise.
func (d *Device) Set(s tty.Settings) {
	if s == d.wanted.TTY {
		return
	}
	d.wanted.TTY = s
	if d.life.state == opening {
		d.advance(renew)
	}
}

// Settings returns those that Set or Renew have asked for.
func (d *Device) Settings() tty.Settings { return d.wanted.TTY }

// Filed returns the settings that New or Renew were told.
func (d *Device) Filed() tty.Settings { return d.filed.TTY }

// A jam is where the output of a line stood when it was waited for in vain.
type jam struct {
	is    bool
	taken uint64 // by the driver, since the opening
	left  int    // of that, in the driver
}

// Control has do called by a goroutine, with the descriptor of the open line, and then
// done, on the loop. With sent, all that was written before leaves the port first. If the
// line goes before, done alone is called. Control returns false, and calls neither, if the
// device is not open or no line. It is not called again before done.
//
// A line whose other end has stopped the flow is changed all the same, after Times.Sent for
// each of the queue and the driver, and at once as long as nothing more goes out: a client
// sets a line by several requests, and gives up when they take long in all.
func (d *Device) Control(sent bool, do func(fd int), done func()) bool {
	if !d.Up() || !d.now.line {
		return false
	}
	if !sent {
		d.errand(do, done)
		return true
	}
	was, most := d.jam, d.Times.Sent
	known := was.is && was.taken == d.conn.BytesOut()
	patience := most
	if known {
		patience = 0
	}
	d.Flush(patience, func() {
		if d.conn == nil {
			done()
			return
		}
		j := jam{is: d.conn.Queued() > 0, taken: d.conn.BytesOut()}
		d.errand(func(fd int) {
			left := tty.Unsent(fd)
			if !j.is && left > 0 && !(known && left == was.left) {
				tty.AwaitSent(fd, most)
			}
			do(fd)
			j.left = tty.Unsent(fd)
			j.is = j.is || j.left > 0
		}, func() {
			d.jam = j
			done()
		})
	})
	return true
}

// errand has a goroutine call do, unless the device is being closed, and then done called
// on the loop.
func (d *Device) errand(do func(fd int), done func()) {
	now := d.now
	go func() {
		if now.use.TryLock() {
			do(now.fd)
			now.use.Unlock()
		}
		d.loop.Post(done)
	}()
}

// abandon closes the device as it is. A goroutine that uses it has it closed when it is
// done: the loop waits for nobody.
func (d *Device) abandon() {
	fd, use := d.now.fd, d.now.use
	d.now.fd = -1
	if use.TryLock() {
		_ = unix.Close(fd)
		return
	}
	go func() {
		use.Lock()
		_ = unix.Close(fd)
	}()
}
