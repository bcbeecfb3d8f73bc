// SPDX-License-Identifier: Apache-2.0

package tty

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A driver is a line that a test plays. A call that is not in it fails as in a driver that
// lacks it.
type driver struct {
	termios unix.Termios
	keep    func(t *unix.Termios) // what it makes of settings
	modem   int                   // DTR, RTS and the lines of the other end; -1: it has none
	rs485   func(c *[8]uint32)    // nil: it has none
	rs485Is [8]uint32             // what that has made of it
	flags   uint32                // of struct serial_struct
	takes   uint32                // those that it takes over
	serial  bool                  // it has that struct
}

// play has fd be a line of d until the test ends. Other descriptors are the kernel's.
func play(t *testing.T, fd int, d *driver) {
	kernel := ioctl
	t.Cleanup(func() { ioctl = kernel })
	ioctl = func(to int, request uint, arg unsafe.Pointer) error {
		if to != fd {
			return kernel(to, request, arg)
		}
		return d.call(request, arg)
	}
}

func (d *driver) call(request uint, arg unsafe.Pointer) error {
	switch {
	case request == unix.TCGETS2:
		*(*unix.Termios)(arg) = d.termios
	case request == unix.TCSETS2:
		d.termios = *(*unix.Termios)(arg)
		if d.keep != nil {
			d.keep(&d.termios)
		}
	case request == unix.TIOCMGET && d.modem >= 0:
		*(*int32)(arg) = int32(d.modem)
	case request == unix.TIOCMBIS && d.modem >= 0:
		d.modem |= int(*(*int32)(arg))
	case request == unix.TIOCMBIC && d.modem >= 0:
		d.modem &^= int(*(*int32)(arg))
	case request == unix.TIOCSRS485 && d.rs485 != nil:
		d.rs485((*[8]uint32)(arg))
		d.rs485Is = *(*[8]uint32)(arg)
	case request == unix.TIOCGRS485 && d.rs485 != nil:
		*(*[8]uint32)(arg) = d.rs485Is
	case request == unix.TIOCGSERIAL && d.serial:
		binary.NativeEndian.PutUint32((*[128]byte)(arg)[16:], d.flags)
	case request == unix.TIOCSSERIAL && d.serial:
		d.flags = binary.NativeEndian.Uint32((*[128]byte)(arg)[16:]) & d.takes
	default:
		return unix.ENOTTY
	}
	return nil
}

// TestSetLines: what is not in termios reaches the driver, and what it does instead comes
// back.
func TestSetLines(t *testing.T) {
	const fd = -2
	delays := RS485{Direction: RTSOnSend, Before: 2 * time.Millisecond, After: 5 * time.Millisecond}
	oneWay := func(c *[8]uint32) { c[0], c[1] = rs485Enabled|rs485AfterSend, 0 }
	for name, tt := range map[string]struct {
		driver driver
		set    Settings
		want   []Refusal
		modem  int
	}{
		"nothing asked for": {driver{modem: unix.TIOCM_DTR}, Settings{}, nil, unix.TIOCM_DTR},
		"lines":             {driver{modem: unix.TIOCM_DTR}, Settings{DTR: Off, RTS: On}, nil, unix.TIOCM_RTS},
		"no lines": {
			driver{modem: -1},
			Settings{DTR: Off, RTS: On},
			[]Refusal{{"dtr", "off", "inappropriate ioctl for device"}, {"rts", "on", "inappropriate ioctl for device"}},
			-1,
		},
		"rs485": {driver{rs485: func(c *[8]uint32) {
			if want := [8]uint32{rs485Enabled | rs485OnSend, 2, 5}; *c != want {
				panic(fmt.Sprint(*c))
			}
		}}, Settings{RS485: delays}, nil, 0},
		"rs485 the other way": {
			driver{rs485: oneWay},
			Settings{RS485: delays},
			[]Refusal{{"rs485", "rts-on-send before=2ms after=5ms", "rts-after-send after=5ms"}},
			0,
		},
		"rs485 not at all": {
			driver{rs485: func(c *[8]uint32) { *c = [8]uint32{} }},
			Settings{RS485: RS485{Direction: RTSAfterSend}},
			[]Refusal{{"rs485", "rts-after-send", "off"}},
			0,
		},
		"no rs485": {driver{}, Settings{RS485: delays}, []Refusal{{"rs485", "rts-on-send before=2ms after=5ms", "inappropriate ioctl for device"}}, 0},
		"latency":  {driver{serial: true, takes: ^uint32(0), flags: 1}, Settings{LowLatency: true}, nil, 0},
		"latency that is not taken": {
			driver{serial: true, takes: 1},
			Settings{LowLatency: true},
			[]Refusal{{"low_latency", "true", errKept.Error()}},
			0,
		},
		"no latency": {driver{}, Settings{LowLatency: true}, []Refusal{{"low_latency", "true", "inappropriate ioctl for device"}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			d := tt.driver
			play(t, fd, &d)
			if got := tt.set.setLines(fd); !slices.Equal(got, tt.want) {
				t.Errorf("refused %q, want %q", got, tt.want)
			}
			if got, want := later(tt.set, fd), slices.DeleteFunc(slices.Clone(tt.want), ofLines); !slices.Equal(got, want) {
				t.Errorf("later it is read back as %q, want %q", got, want)
			}
			if d.modem != tt.modem {
				t.Errorf("the lines are %#x, want %#x", d.modem, tt.modem)
			}
			if low := d.flags&lowLatency != 0; low != (tt.set.LowLatency && tt.want == nil) || name == "latency" && d.flags&1 == 0 {
				t.Errorf("the flags are %#x", d.flags)
			}
		})
	}
}

// later returns what is refused when nothing is set, the termios apart.
func later(s Settings, fd int) []Refusal {
	s.Bits = 8
	return slices.DeleteFunc(s.Refused(fd), func(r Refusal) bool { return r.Setting != "rs485" && r.Setting != "low_latency" })
}

func ofLines(r Refusal) bool { return r.Setting == "dtr" || r.Setting == "rts" }

// TestChange: a line in use is set anew, and what comes back is what the driver made of it.
func TestChange(t *testing.T) {
	const fd = -2
	d := &driver{keep: func(t *unix.Termios) {
		t.Cflag |= unix.CS8
		t.Ospeed += t.Ospeed / 100
	}}
	play(t, fd, d)
	want := Settings{Speed: 9600, Bits: 8, Parity: Even, Stop: 2, Flow: XONXOFF, DTR: Off}
	asked := want
	asked.Bits = 7
	if got, err := Change(fd, asked); err != nil || got != want {
		t.Errorf("%+v is set to %+v (%v), want %+v", asked, got, err, want)
	}
	d.keep = func(t *unix.Termios) { t.Ospeed, t.Iflag = 4800, 0 }
	want.Speed, want.Flow = 4800, NoFlow
	if got, err := Change(fd, asked); err != nil || got.Speed != 4800 || got.Flow != NoFlow {
		t.Errorf("%+v is set to %+v (%v)", asked, got, err)
	}
}

// TestLevels: our lines are set one by one, and those of the other end are read.
func TestLevels(t *testing.T) {
	const fd = -2
	d := &driver{modem: unix.TIOCM_CTS | unix.TIOCM_CD}
	play(t, fd, d)
	for _, set := range []func() error{
		func() error { return SetDTR(fd, true) },
		func() error { return SetRTS(fd, true) },
		func() error { return SetDTR(fd, false) },
	} {
		if err := set(); err != nil {
			t.Error(err)
		}
	}
	if got, err := ReadLevels(fd); err != nil || got != (Levels{RTS: true, CTS: true, Carrier: true}) {
		t.Errorf("the lines are %+v (%v)", got, err)
	}
	d.modem = -1
	if _, err := ReadLevels(fd); err == nil {
		t.Error("a driver without lines says how they are")
	}
}
