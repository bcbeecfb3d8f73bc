// SPDX-License-Identifier: Apache-2.0

package tty

import (
	"encoding/binary"
	"errors"
	"time"
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
type RS485 struct {
	Direction     Direction
	Before, After time.Duration // RTS waits so long around what is sent; whole milliseconds
}

// Direction is the level of RTS.
type Direction uint8

// The ways.
const (
	NoRS485      Direction = iota // the driver keeps what it does
	RTSOnSend                     // RTS is on while the port sends
	RTSAfterSend                  // RTS is off while the port sends
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
			note(l.name, "on", setInt(fd, unix.TIOCMBIS, l.bit))
		case Off:
			note(l.name, "off", setInt(fd, unix.TIOCMBIC, l.bit))
		}
	}
	refused = append(refused, s.RS485.set(fd)...)
	if s.LowLatency {
		note("low_latency", "true", setLowLatency(fd))
	}
	return refused
}

// Refused returns what the line fd does not have of s, by which it was configured before.
// It sets nothing: a client may use the line. Levels of DTR and RTS are not looked at, since
// a client may have changed them.
func (s Settings) Refused(fd int) []Refusal {
	t, err := getTermios(fd)
	if err != nil {
		return nil // it is gone, and whoever reads from it learns that
	}
	refused := compare(s.termios(t.Line), t)
	if r := s.RS485; r.Direction != NoRS485 {
		want, got := r.words(), [8]uint32{}
		err := ioctl(fd, unix.TIOCGRS485, unsafe.Pointer(&got))
		refused = append(refused, differing(want, got, err)...)
	}
	if s.LowLatency {
		if err := hasLowLatency(fd); err != nil {
			refused = append(refused, Refusal{"low_latency", "true", err.Error()})
		}
	}
	return refused
}

// Flags of struct serial_rs485 (linux/serial.h).
const (
	rs485Enabled   = 1 << 0
	rs485OnSend    = 1 << 1
	rs485AfterSend = 1 << 2
)

var rs485Flags = map[Direction]uint32{RTSOnSend: rs485Enabled | rs485OnSend, RTSAfterSend: rs485Enabled | rs485AfterSend}

// set sets struct serial_rs485: the flags, two delays in milliseconds, padding. The driver
// writes into it what it does instead: many know one direction, or no delay.
func (r RS485) set(fd int) []Refusal {
	if r.Direction == NoRS485 {
		return nil
	}
	got := r.words()
	err := ioctl(fd, unix.TIOCSRS485, unsafe.Pointer(&got))
	return differing(r.words(), got, err)
}

func (r RS485) words() [8]uint32 {
	return [8]uint32{rs485Flags[r.Direction], uint32(r.Before.Milliseconds()), uint32(r.After.Milliseconds())}
}

// differing says what got, or an error in its place, is otherwise than want.
func differing(want, got [8]uint32, err error) []Refusal {
	a, b := rs485Text(want), rs485Text(got)
	switch {
	case err != nil:
		return []Refusal{{"rs485", a, err.Error()}}
	case a != b:
		return []Refusal{{"rs485", a, b}}
	}
	return nil
}

// rs485Text says what c means in the words of the configuration.
func rs485Text(c [8]uint32) string {
	text := "off"
	for direction, word := range map[Direction]string{RTSOnSend: "rts-on-send", RTSAfterSend: "rts-after-send"} {
		if flags := rs485Flags[direction]; c[0]&(rs485Enabled|rs485OnSend|rs485AfterSend) == flags {
			text = word
		}
	}
	for i, word := range []string{" before=", " after="} {
		if c[i+1] != 0 {
			text += word + (time.Duration(c[i+1]) * time.Millisecond).String()
		}
	}
	return text
}

const (
	lowLatency  = 1 << 13 // ASYNC_LOW_LATENCY (linux/tty_flags.h)
	serialFlags = 16      // where struct serial_struct has it
)

// errKept means that a driver took a setting without a word and does not have it.
var errKept = errors.New("not taken over")

// setLowLatency sets a flag in struct serial_struct, which is after four words and longer
// where a pointer is. FTDI's adapters wait for 16 ms without it, for more to send.
func setLowLatency(fd int) error {
	var s [128]byte
	if err := ioctl(fd, unix.TIOCGSERIAL, unsafe.Pointer(&s)); err != nil {
		return err
	}
	flags := binary.NativeEndian.Uint32(s[serialFlags:])
	binary.NativeEndian.PutUint32(s[serialFlags:], flags|lowLatency)
	if err := ioctl(fd, unix.TIOCSSERIAL, unsafe.Pointer(&s)); err != nil {
		return err
	}
	return hasLowLatency(fd)
}

func hasLowLatency(fd int) error {
	var s [128]byte
	if err := ioctl(fd, unix.TIOCGSERIAL, unsafe.Pointer(&s)); err != nil {
		return err
	}
	if binary.NativeEndian.Uint32(s[serialFlags:])&lowLatency == 0 {
		return errKept
	}
	return nil
}
