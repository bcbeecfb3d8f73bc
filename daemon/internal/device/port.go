// SPDX-License-Identifier: Apache-2.0

package device

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/tty"
	"penstock/evloop"
)

// portOptions bound what waits for the device. The bound is never reached, since users ask
// Ready before they write: a message is at most as long as a client's input. The policy is
// not Pause, under which a device that is slow to take would not be read either. Exempt
// means that the loop never cuts the device when limits.memory is reached.
var portOptions = &evloop.Options{Queue: 256 << 10, Overflow: evloop.Disconnect, Exempt: true}

// A port is the open device as a connection of the loop.
type port struct {
	evloop.Base
	d *Device
}

var (
	errHungUp = errors.New("it has hung up")
	errOther  = errors.New("another device has its name")
)

// adopt adds the device to the loop. The loop gets a duplicate, since the last descriptor
// is closed elsewhere.
func (d *Device) adopt() bool {
	d.began, d.failure = d.loop.Now(), nil
	fd, err := unix.FcntlInt(uintptr(d.now.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		d.failure = os.NewSyscallError("fcntl", err)
		d.advance(gone)
		return false
	}
	c, err := d.loop.AddOwn(fd, port{d: d}, nil)
	if err != nil { // out of memory or of watches, or it cannot be polled
		_ = unix.Close(fd)
		if errors.Is(err, unix.EPERM) {
			err = fmt.Errorf("it cannot be waited for: %w", errKind)
		}
		d.failure = err
		d.advance(gone)
		return false
	}
	d.conn, d.jam = c, jam{}
	c.SetOptions(portOptions)
	d.counted, _ = tty.Count(d.now.fd)
	d.looked = d.loop.Now()
	return true
}

// Data passes on what the device has sent.
func (p port) Data(c *evloop.Conn, b []byte) int {
	if p.d.conn == c {
		p.d.user.Data(b)
		if p.d.loop.Now().Sub(p.d.looked) >= countEvery {
			p.d.count()
		}
	}
	return len(b)
}

// EOF means that the device is gone: the hang-up of a line reads as an end.
func (p port) EOF(c *evloop.Conn) {
	if p.d.conn == c && p.d.life.state == up {
		p.d.failure = errHungUp
		p.d.advance(gone)
	}
}

// Closed has the last descriptor closed. When the loop itself is closed, at exit, the next
// process may have the device already, so it is left as it is.
func (p port) Closed(c *evloop.Conn, err error) {
	d := p.d
	if d.conn != c {
		return
	}
	d.conn = nil
	if err != evloop.ErrLoopClosed {
		d.loses(d.now.path, c.Unsent())
	}
	switch {
	case err == evloop.ErrLoopClosed:
		d.abandon()
	case d.life.state == up:
		d.failure = err
		if d.failure == nil {
			d.failure = errHungUp
		}
		d.advance(gone)
	default:
		d.release()
	}
}

// close takes the device out of the loop, and then has it closed. What was written to it
// still goes out, unless it is gone.
func (d *Device) close() {
	switch {
	case d.conn == nil:
		d.release()
	case d.life.unwanted || d.life.stale:
		d.count()
		d.conn.CloseAfterFlush(d.Times.Flush, nil)
	default:
		d.conn.Abort(nil)
	}
}

// release has a goroutine close the last descriptor.
func (d *Device) release() {
	last, restore, times := d.now, d.life.unwanted, d.Times
	d.now = openDevice{fd: -1}
	go func() {
		last.letGo(restore, times, func(n int) {
			d.loop.Post(func() { d.loses(last.path, n) })
		})
		d.loop.Post(func() { d.advance(closed) })
	}()
}

// loses counts n bytes of output that will not be sent any more: they have not left the
// loop's queue, or the driver.
func (d *Device) loses(path string, n int) {
	if n > 0 {
		d.unsent += uint64(n)
		d.log.OutputLost(path, n)
	}
}

// look has a goroutine see whether the device still has its name. A FIFO that was removed
// and made anew does not hang up, and a link may name another device by now. A name that
// is gone says nothing: udev takes links away for a moment.
func (d *Device) look() {
	if d.looking {
		d.anew = true // the look under way may have been too early
		return
	}
	d.looking, d.anew = true, false
	path, is := d.now.path, d.now.is
	go func() {
		var st unix.Stat_t
		other := unix.Stat(path, &st) == nil && identityOf(&st) != is
		d.loop.Post(func() { d.sawName(other, is) })
	}()
}

// sawName is called on the loop when it is known whether something other than is had the
// name.
func (d *Device) sawName(other bool, is identity) {
	d.looking = false
	switch {
	case d.life.state != up:
	case other && d.now.is == is:
		d.failure = errOther
		d.advance(gone)
		d.advance(seen) // the other one is there
	case d.anew:
		d.look()
	}
}

// countEvery is how often the driver of a line that sends is asked for what was lost.
const countEvery = 10 * time.Second

// Errors returns what went wrong on the line since the service began.
func (d *Device) Errors() tty.Counts {
	d.count()
	return d.errors
}

// count asks the driver, and logs what went wrong since the last time.
func (d *Device) count() {
	d.looked = d.loop.Now()
	if d.now.fd < 0 || !d.now.line {
		return
	}
	now, err := tty.Count(d.now.fd)
	if err != nil {
		return // it has no counters, or is gone
	}
	news := now.Sub(d.counted)
	d.counted = now
	if news == (tty.Counts{}) {
		return
	}
	d.errors = d.errors.Add(news)
	d.log.LineErrors(d.now.path, news.Overrun, news.Frame, news.Parity, news.Break)
}
