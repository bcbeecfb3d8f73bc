// SPDX-License-Identifier: Apache-2.0

package device

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/tty"
	"penstock/evloop"
	"penstock/evloop/evlooptest"
)

// TestLeftBehind: what another program has set does not make an idle line look like one
// that is gone. pyserial leaves exactly this.
func TestLeftBehind(t *testing.T) {
	master, slave := evlooptest.PTY(t)
	fd, err := unix.Open(slave, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
	if err != nil {
		t.Fatal(err)
	}
	before.Lflag &^= unix.ICANON
	before.Cc[unix.VMIN], before.Cc[unix.VTIME] = 0, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS2, before); err != nil {
		t.Fatal(err)
	}
	r := serve(t, evloop.Config{}, Options{Path: slave, TTY: tty.Settings{Speed: 250000, Bits: 8, Parity: tty.None, Stop: 2}})
	r.until("the device", func() bool { return r.ups == 1 })
	write(t, master, "\x03\x11a\r\n") // bytes that a terminal would act on
	r.want("\x03\x11a\r\n")
	now, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
	if err != nil {
		t.Fatal(err)
	}
	if now.Ospeed != 250000 || now.Ispeed != 250000 || now.Cc[unix.VMIN] != 1 || now.Cflag&unix.CSTOPB == 0 || now.Cflag&unix.HUPCL != 0 {
		t.Errorf("the line is set to %+v", now)
	}
	r.stop()
	again, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
	if err != nil {
		t.Fatal(err)
	}
	before.Cflag &^= unix.HUPCL
	if *again != *before {
		t.Errorf("after the stop the line is set to\n%+v, before it was\n%+v", again, before)
	}
	r.do(func() {
		if r.downs > 0 {
			t.Errorf("the device was gone %d times", r.downs)
		}
	})
}

// TestRefused: what the driver keeps is logged. A pseudo-terminal has eight bits.
func TestRefused(t *testing.T) {
	_, slave := evlooptest.PTY(t)
	r := serve(t, evloop.Config{}, Options{Path: slave, TTY: tty.Settings{Speed: 9600, Bits: 7, Parity: tty.Even, Stop: 1, DTR: tty.On}})
	r.until("the device", func() bool { return r.ups == 1 })
	r.do(func() {
		if got := r.dev.Refused(); !strings.HasPrefix(got, "mode=8N1 dtr=") {
			t.Errorf("refused is %q", got)
		}
	})
	for _, want := range []string{"key=mode asked=7E1 got=8N1", "key=dtr asked=on"} {
		if !strings.Contains(r.logged(), want) {
			t.Errorf("the log lacks %q:\n%s", want, r.logged())
		}
	}
}

// TestExclusive: a second program that asks as well does not get the device, and gets it
// when the first has let it go.
func TestExclusive(t *testing.T) {
	master, slave := evlooptest.PTY(t)
	fd, err := unix.Open(slave, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	excluded := func() bool { // of all but root
		n, err := unix.IoctlGetUint32(fd, unix.TIOCGEXCL)
		if err != nil {
			t.Fatal(err)
		}
		return n != 0
	}
	a := serve(t, evloop.Config{}, Options{Path: slave, Exclusive: true})
	a.until("the device", func() bool { return a.ups == 1 })
	if !excluded() {
		t.Error("a program that does not ask can open the line")
	}
	b := serve(t, evloop.Config{}, Options{Path: slave, Exclusive: true})
	b.until("the refusal", func() bool { return b.downs > 2 })
	if n := strings.Count(b.logged(), "another program has it"); n != 1 {
		t.Errorf("%d records of it, want one however often it is tried:\n%s", n, b.logged())
	}
	a.stop()
	b.until("the device", func() bool { return b.ups == 1 })
	write(t, master, "x\n")
	b.want("x\n")
	b.stop()
	if excluded() {
		t.Error("after the stop nobody can open the line")
	}
}
