// SPDX-License-Identifier: Apache-2.0

package tty

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// TestModes: every mode reaches the driver, and is read back as it is written. A driver
// that knows no mark or space parity leaves the bit out, and that is said.
func TestModes(t *testing.T) {
	const fd = -2
	for _, parity := range "NEOMS" {
		for bits := 5; bits <= 8; bits++ {
			for stop := 1; stop <= 2; stop++ {
				asked := fmt.Sprintf("%d%c%d", bits, parity, stop)
				var d driver
				play(t, fd, &d)
				s := Settings{Speed: 9600, Bits: bits, Parity: Parity(parity), Stop: stop}
				if refused, err := Configure(fd, s); err == nil || len(refused) > 0 { // TCFLSH is not played
					t.Errorf("%s: refused %q, %v", asked, refused, err)
				}
				if got := mode(&d.termios); got != asked {
					t.Errorf("%s is set as %s", asked, got)
				}
			}
		}
	}
	for asked, got := range map[Parity]string{Mark: "8O1", Space: "8E1"} {
		d := driver{keep: func(t *unix.Termios) { t.Cflag &^= unix.CMSPAR }}
		play(t, fd, &d)
		want := fmt.Sprint([]Refusal{{"mode", "8" + string(asked) + "1", got}})
		if refused, _ := Configure(fd, Settings{Speed: 9600, Bits: 8, Parity: asked, Stop: 1}); fmt.Sprint(refused) != want {
			t.Errorf("%c: refused %q, want %s", asked, refused, want)
		}
	}
}

// TestParityBits: what termios(3) and the kernel call them.
func TestParityBits(t *testing.T) {
	for parity, want := range map[Parity]uint32{
		None: 0, Even: unix.PARENB, Odd: unix.PARENB | unix.PARODD,
		Mark: unix.PARENB | unix.CMSPAR | unix.PARODD, Space: unix.PARENB | unix.CMSPAR,
	} {
		got := Settings{Speed: 9600, Bits: 8, Parity: parity, Stop: 1}.termios(0)
		if bits := got.Cflag & (unix.PARENB | unix.PARODD | unix.CMSPAR); bits != want {
			t.Errorf("%c is %#x, want %#x", parity, bits, want)
		}
	}
}
