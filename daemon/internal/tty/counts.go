// SPDX-License-Identifier: Apache-2.0

package tty

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Counts are what went wrong on a line below this program, since the driver was bound.
type Counts struct {
	Overrun uint64 // bytes that came too fast for the port or the kernel
	Frame   uint64 // bytes without a stop bit: noise, or another speed
	Parity  uint64
	Break   uint64
}

// Sub returns what came after before. A driver that has begun anew has counted from zero.
func (c Counts) Sub(before Counts) Counts {
	diff := func(now, before uint64) uint64 {
		if now < before {
			return now
		}
		return now - before
	}
	return Counts{diff(c.Overrun, before.Overrun), diff(c.Frame, before.Frame), diff(c.Parity, before.Parity), diff(c.Break, before.Break)}
}

// Add returns the sum.
func (c Counts) Add(d Counts) Counts {
	return Counts{c.Overrun + d.Overrun, c.Frame + d.Frame, c.Parity + d.Parity, c.Break + d.Break}
}

// icount is struct serial_icounter_struct (linux/serial.h).
type icount struct {
	_              [4]int32 // changes of CTS, DSR, RI, DCD
	_              [2]int32 // bytes in and out
	frame, overrun int32
	parity, brk    int32
	bufOverrun     int32
	_              [9]int32
}

// Count asks the driver of fd. Drivers without such counters, as that of a
// pseudo-terminal, have an error. It does not block.
func Count(fd int) (Counts, error) {
	var c icount
	if err := ioctl(fd, unix.TIOCGICOUNT, unsafe.Pointer(&c)); err != nil {
		return Counts{}, os.NewSyscallError("tiocgicount", err)
	}
	u := func(n int32) uint64 { return uint64(uint32(n)) }
	return Counts{Overrun: u(c.overrun) + u(c.bufOverrun), Frame: u(c.frame), Parity: u(c.parity), Break: u(c.brk)}, nil
}
