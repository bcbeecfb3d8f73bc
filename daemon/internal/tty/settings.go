// SPDX-License-Identifier: Apache-2.0

package tty

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Settings are all that can be set of a line. The zero value is not valid.
type Settings struct {
	Speed  int // bits a second, any number that the hardware can do
	Bits   int // of a byte, 5 to 8
	Parity Parity
	Stop   int // stop bits, 1 or 2
	Flow   Flow

	DTR, RTS   Line  // when the device is opened
	HangUp     bool  // drop both when it is closed
	RS485      RS485 // direction by RTS
	LowLatency bool
}

// Parity is the letter of a mode such as 8N1.
type Parity byte

// The parities.
const (
	None  Parity = 'N'
	Even  Parity = 'E'
	Odd   Parity = 'O'
	Mark  Parity = 'M' // the bit is always 1
	Space Parity = 'S' // always 0
)

// Flow is what stops a sender that is too fast.
type Flow uint8

// The ways of flow control.
const (
	NoFlow  Flow = iota
	RTSCTS       // two lines of the cable
	XONXOFF      // two bytes of the stream, which then cannot be data
)

// A Refusal is a setting that the driver did not take over.
type Refusal struct{ Setting, Asked, Got string }

// Is reports whether fd is a terminal line, or was one before its device went.
func Is(fd int) bool {
	_, err := getTermios(fd)
	return err == nil || err == unix.EIO
}

// Configure sets the line fd, discards what it has received before, and returns what the
// driver did not take over. The line is raw: every byte arrives as it was sent. An error
// means that fd is no line, or one whose device is gone.
func Configure(fd int, s Settings) ([]Refusal, error) {
	t, err := getTermios(fd)
	if err != nil {
		return nil, os.NewSyscallError("tcgets2", err)
	}
	want := s.termios(t.Line)
	if err := setTermios(fd, want); err != nil && err != unix.EINVAL {
		return nil, os.NewSyscallError("tcsets2", err) // EINVAL: nothing was taken over, and that shows below
	}
	got, err := getTermios(fd)
	if err != nil {
		return nil, os.NewSyscallError("tcgets2", err)
	}
	refused := append(compare(want, got), s.setLines(fd)...)
	if err := unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCIFLUSH); err != nil {
		return refused, os.NewSyscallError("tcflush", err)
	}
	return refused, nil
}

// termios is what the kernel calls these settings. With the speed of the input at zero
// both directions have that of the output. A read waits for one byte (VMIN), so that an
// idle line is not taken for one that has ended.
func (s Settings) termios(discipline uint8) *unix.Termios {
	t := &unix.Termios{Line: discipline, Cflag: unix.CREAD | unix.CLOCAL | unix.BOTHER, Ispeed: uint32(s.Speed), Ospeed: uint32(s.Speed)}
	t.Cflag |= [...]uint32{unix.CS5, unix.CS6, unix.CS7, unix.CS8}[s.Bits-5]
	switch s.Parity {
	case Odd:
		t.Cflag |= unix.PARENB | unix.PARODD
		t.Iflag |= unix.INPCK
	case Even:
		t.Cflag |= unix.PARENB
		t.Iflag |= unix.INPCK
	case Mark:
		t.Cflag |= unix.PARENB | unix.CMSPAR | unix.PARODD
		t.Iflag |= unix.INPCK
	case Space:
		t.Cflag |= unix.PARENB | unix.CMSPAR
		t.Iflag |= unix.INPCK
	}
	if s.Stop == 2 {
		t.Cflag |= unix.CSTOPB
	}
	if s.HangUp {
		t.Cflag |= unix.HUPCL
	}
	switch s.Flow {
	case RTSCTS:
		t.Cflag |= unix.CRTSCTS
	case XONXOFF:
		t.Iflag |= unix.IXON | unix.IXOFF
		t.Cc[unix.VSTART], t.Cc[unix.VSTOP] = 0x11, 0x13
	}
	t.Cc[unix.VMIN] = 1
	return t
}

// compare says in which settings got is not what was asked for.
func compare(want, got *unix.Termios) (refused []Refusal) {
	differs := func(setting string, text func(*unix.Termios) string) {
		if asked, is := text(want), text(got); asked != is {
			refused = append(refused, Refusal{setting, asked, is})
		}
	}
	if asked := (Settings{Speed: int(want.Ospeed)}); !asked.near(int(got.Ospeed)) {
		refused = append(refused, Refusal{"speed", strconv.Itoa(int(want.Ospeed)), strconv.Itoa(int(got.Ospeed))})
	}
	differs("mode", mode)
	differs("flow", flow)
	differs("hangup", func(t *unix.Termios) string { return strconv.FormatBool(t.Cflag&unix.HUPCL != 0) })
	differs("raw", func(t *unix.Termios) string { return fmt.Sprintf("%#x %#x", t.Lflag, t.Oflag&unix.OPOST) })
	differs("vmin", func(t *unix.Termios) string { return strconv.Itoa(int(t.Cc[unix.VMIN])) })
	return refused
}

// near reports whether got is as good as the speed that was asked for. The divider of a
// clock seldom hits it, and a line bears about two percent.
func (s Settings) near(got int) bool {
	return math.Abs(float64(got)-float64(s.Speed))/float64(s.Speed) <= 0.02
}

// mode is the mode of t as it is written, 8N1.
func mode(t *unix.Termios) string {
	bits := map[uint32]string{unix.CS5: "5", unix.CS6: "6", unix.CS7: "7", unix.CS8: "8"}[t.Cflag&unix.CSIZE]
	parity, stop := None, "1"
	switch t.Cflag & (unix.PARENB | unix.PARODD | unix.CMSPAR) {
	case unix.PARENB:
		parity = Even
	case unix.PARENB | unix.PARODD:
		parity = Odd
	case unix.PARENB | unix.CMSPAR | unix.PARODD:
		parity = Mark
	case unix.PARENB | unix.CMSPAR:
		parity = Space
	}
	if t.Cflag&unix.CSTOPB != 0 {
		stop = "2"
	}
	return bits + string(parity) + stop
}

func flow(t *unix.Termios) string {
	switch {
	case t.Cflag&unix.CRTSCTS != 0:
		return "rtscts"
	case t.Iflag&(unix.IXON|unix.IXOFF) != 0:
		return "xonxoff"
	}
	return "none"
}

// A Saved is how a line was set before.
type Saved struct{ termios unix.Termios }

// Bytes returns s in a form that SavedOf reads, on the same machine.
func (s Saved) Bytes() []byte {
	b, _ := binary.Append(nil, binary.NativeEndian, s.termios) // numbers cannot fail
	return b
}

// SavedOf returns what Bytes has written.
func SavedOf(b []byte) (s Saved, err error) {
	n, err := binary.Decode(b, binary.NativeEndian, &s.termios)
	if err == nil && n != len(b) {
		err = errors.New("tty: settings are too long")
	}
	return s, err
}

// Save returns how fd is set now.
func Save(fd int) (Saved, error) {
	t, err := getTermios(fd)
	if err != nil {
		return Saved{}, os.NewSyscallError("tcgets2", err)
	}
	return Saved{*t}, nil
}

// Restore sets fd as it was, but for what happens at the close: that stays as it was
// configured, so that a stop resets no board.
func (s Saved) Restore(fd int) error {
	now, err := getTermios(fd)
	if err != nil {
		return os.NewSyscallError("tcgets2", err)
	}
	t := s.termios
	t.Cflag = t.Cflag&^uint32(unix.HUPCL) | now.Cflag&unix.HUPCL
	return os.NewSyscallError("tcsets2", setTermios(fd, &t))
}
