// SPDX-License-Identifier: Apache-2.0

package tty

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Line is what becomes of DTR or RTS when the device is opened. open(2) itself raises
// both, which cannot be helped; so Off is a short pulse.
type Line uint8

// The states.
const (
	Keep Line = iota // as open(2) has left it
	On
	Off
)

// RS485 says how RTS switches a transceiver between sending and receiving.
type RS485 uint8

// The ways.
const (
	NoRS485      RS485 = iota // the driver keeps what it does
	RTSOnSend                 // RTS is on while the port sends
	RTSAfterSend              // RTS is off while the port sends
)

// setLines sets what is not in termios(3), and returns what the driver does not do.
func (s Settings) setLines(fd int) (refused []Refusal) {
	note := func(setting, asked string, err error) {
		if err != nil {
			refused = append(refused, Refusal{setting, asked, err.Error()})
		}
	}
	for _, l := range []struct {
		name string
		to   Line
		bit  int
	}{{"dtr", s.DTR, unix.TIOCM_DTR}, {"rts", s.RTS, unix.TIOCM_RTS}} {
		switch l.to {
		case On:
			note(l.name, "on", unix.IoctlSetPointerInt(fd, unix.TIOCMBIS, l.bit))
		case Off:
			note(l.name, "off", unix.IoctlSetPointerInt(fd, unix.TIOCMBIC, l.bit))
		}
	}
	switch s.RS485 {
	case RTSOnSend:
		note("rs485", "rts-on-send", setRS485(fd, rs485Enabled|rs485OnSend))
	case RTSAfterSend:
		note("rs485", "rts-after-send", setRS485(fd, rs485Enabled|rs485AfterSend))
	}
	if s.LowLatency {
		note("low_latency", "true", setLowLatency(fd))
	}
	return refused
}

// Flags of struct serial_rs485 (linux/serial.h).
const (
	rs485Enabled   = 1 << 0
	rs485OnSend    = 1 << 1
	rs485AfterSend = 1 << 2
)

// setRS485 sets struct serial_rs485: the flags, two delays in milliseconds, padding.
func setRS485(fd int, flags uint32) error {
	c := [8]uint32{flags}
	return ioctl(fd, unix.TIOCSRS485, unsafe.Pointer(&c))
}

// setLowLatency sets a flag in struct serial_struct, which is after four words and longer
// where a pointer is. FTDI's adapters wait for 16 ms without it, for more to send.
func setLowLatency(fd int) error {
	var s [128]byte
	if err := ioctl(fd, unix.TIOCGSERIAL, unsafe.Pointer(&s)); err != nil {
		return err
	}
	const at, lowLatency = 16, 1 << 13
	flags := binary.NativeEndian.Uint32(s[at:])
	binary.NativeEndian.PutUint32(s[at:], flags|lowLatency)
	return ioctl(fd, unix.TIOCSSERIAL, unsafe.Pointer(&s))
}

func ioctl(fd int, request uint, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}
