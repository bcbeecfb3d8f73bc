// SPDX-License-Identifier: Apache-2.0

package tty

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Change sets speed, mode and flow control of a line in use, and returns s with what the
// driver made of them. What the line has received stays.
func Change(fd int, s Settings) (Settings, error) {
	t, err := getTermios(fd)
	if err != nil {
		return s, os.NewSyscallError("tcgets2", err)
	}
	if err := setTermios(fd, s.termios(t.Line)); err != nil && err != unix.EINVAL {
		return s, os.NewSyscallError("tcsets2", err)
	}
	if t, err = getTermios(fd); err != nil {
		return s, os.NewSyscallError("tcgets2", err)
	}
	got := mode(t)
	s.Bits, s.Parity, s.Stop = int(got[0]-'0'), Parity(got[1]), int(got[2]-'0')
	s.Flow = map[string]Flow{"none": NoFlow, "rtscts": RTSCTS, "xonxoff": XONXOFF}[flow(t)]
	if !s.near(int(t.Ospeed)) { // else the client would take the rounding of a divider for a refusal
		s.Speed = int(t.Ospeed)
	}
	return s, nil
}

// Levels are what the lines of the cable say.
type Levels struct {
	DTR, RTS                bool // ours
	CTS, DSR, Ring, Carrier bool // of the other end
}

// ReadLevels asks the driver.
func ReadLevels(fd int) (Levels, error) {
	n, err := getInt(fd, unix.TIOCMGET)
	has := func(bit int) bool { return n&bit != 0 }
	return Levels{
		DTR: has(unix.TIOCM_DTR), RTS: has(unix.TIOCM_RTS), CTS: has(unix.TIOCM_CTS),
		DSR: has(unix.TIOCM_DSR), Ring: has(unix.TIOCM_RI), Carrier: has(unix.TIOCM_CD),
	}, os.NewSyscallError("tiocmget", err)
}

// SetDTR sets the line DTR.
func SetDTR(fd int, on bool) error { return setLevel(fd, unix.TIOCM_DTR, on) }

// SetRTS sets the line RTS.
func SetRTS(fd int, on bool) error { return setLevel(fd, unix.TIOCM_RTS, on) }

func setLevel(fd, bit int, on bool) error {
	if on {
		return os.NewSyscallError("tiocmbis", setInt(fd, unix.TIOCMBIS, bit))
	}
	return os.NewSyscallError("tiocmbic", setInt(fd, unix.TIOCMBIC, bit))
}

// SetBreak holds the line in the state of a break, or ends it.
func SetBreak(fd int, on bool) error {
	if on {
		return os.NewSyscallError("tiocsbrk", ioctl(fd, unix.TIOCSBRK, nil))
	}
	return os.NewSyscallError("tioccbrk", ioctl(fd, unix.TIOCCBRK, nil))
}

// SendBreak sends a break of a quarter of a second, and waits for its end.
func SendBreak(fd int) error { return os.NewSyscallError("tcsbrk", ioctl(fd, unix.TCSBRK, nil)) }

// DiscardOutput throws away what the line has not sent yet.
func DiscardOutput(fd int) { _ = unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCOFLUSH) }

// AwaitSent waits until what was written to fd has left the port, or for timeout.
func AwaitSent(fd int, timeout time.Duration) bool {
	const step = 5 * time.Millisecond
	for end := time.Now().Add(timeout); time.Now().Before(end); time.Sleep(step) {
		if Unsent(fd) == 0 {
			return true
		}
	}
	return false
}

// Unsent returns how many bytes the driver has yet to send. A driver that does not know, or
// whose device is gone, has none.
func Unsent(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.TIOCOUTQ)
	if err != nil {
		return 0
	}
	return n
}
