// SPDX-License-Identifier: Apache-2.0

package device

import (
	"time"

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

// sentWithin is how long Control waits for output that was written before. A line whose
// other end has stopped the flow is changed all the same.
const sentWithin = time.Second

// Control has do called by a goroutine, with the descriptor of the open line, and then
// done, on the loop. With sent, all that was written before leaves the port first. If the
// line goes before, done alone is called. Control returns false, and calls neither, if the
// device is not open or no line. It is not called again before done.
func (d *Device) Control(sent bool, do func(fd int), done func()) bool {
	if !d.Up() || !d.now.line {
		return false
	}
	run := func() {
		now := d.now
		if now.fd < 0 {
			done()
			return
		}
		go func() {
			now.control(sent, do)
			d.loop.Post(done)
		}()
	}
	if !sent {
		run()
		return true
	}
	d.Flush(sentWithin, run)
	return true
}

// control calls do, unless the device is being closed. It may block, and belongs to no
// loop.
func (d *openDevice) control(sent bool, do func(fd int)) {
	if !d.use.TryLock() {
		return
	}
	defer d.use.Unlock()
	if sent {
		tty.AwaitSent(d.fd, sentWithin)
	}
	do(d.fd)
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
