// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bufio"
	"fmt"
	"net"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/evloop"
	"penstock/evloop/evlooptest"
)

// Clients that others have written, against a bridge. Each test is skipped where its
// program is not installed.

// listen accepts clients of the rig at a port of loopback, and returns its address.
func (r *rig) listen() string {
	r.t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f, err := c.(*net.TCPConn).File()
			c.Close()
			if err != nil {
				continue
			}
			fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
			f.Close()
			if err != nil {
				continue
			}
			_ = unix.SetNonblock(fd, true)
			added := r.loop.Post(func() {
				if _, err := r.loop.Add(fd, r, r.session()); err != nil {
					_ = unix.Close(fd)
				}
			})
			if !added {
				_ = unix.Close(fd)
			}
		}
	}()
	r.t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

// program runs one of others. wait returns what it has written, at its end.
func program(t *testing.T, name string, args ...string) (wait func() string) {
	t.Helper()
	cmd := osexec.Command(name, args...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	over := false
	end := func() string {
		if over {
			return out.String()
		}
		over = true
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("%s: %v\n%s", name, err, out.String())
			}
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			<-ended
			t.Errorf("%s does not end\n%s", name, out.String())
		}
		return out.String()
	}
	t.Cleanup(func() {
		if !over {
			_ = cmd.Process.Kill()
			<-ended
		}
	})
	return end
}

// python returns a Python that has pyserial. Debian's is not always the first of PATH.
func python(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		if osexec.Command(name, "-c", "import serial.rfc2217").Run() == nil {
			return name
		}
	}
	t.Skip("pyserial is not installed (python3-serial)")
	return ""
}

// TestPyserialSocket: socket:// of pyserial reads and writes a bridge.
func TestPyserialSocket(t *testing.T) {
	py := python(t)
	p := newPlug(t)
	p.in()
	r := bridgeOn(t, evloop.Config{}, p, "write = 'any'")
	r.untilUp(true)
	end := program(t, py, "-c", `
import serial, sys
s = serial.serial_for_url("socket://`+r.listen()+`", timeout=30)
s.write(b"hello\n")
print(s.readline())
`)
	p.hears("hello\n") // it has discarded what came before that
	p.says("world\n")
	if got, want := end(), "b'world\\n'\n"; got != want {
		t.Errorf("pyserial has read %q, want %q", got, want)
	}
	p.out()
}

// TestPyserialPort: rfc2217:// of pyserial sets the line, asks what it can, and passes all
// bytes both ways. A second client gets the same bytes, and an exception if it wants
// another speed.
func TestPyserialPort(t *testing.T) {
	py := python(t)
	p := newPlug(t)
	p.in()
	r := bridgeOn(t, evloop.Config{}, p, "write = 'any'\ntelnet = 'rfc2217'\ndelimiter = ''")
	r.untilUp(true)
	end := program(t, py, "-c", `
import serial, sys
url = "rfc2217://`+r.listen()+`?timeout=30"
s = serial.serial_for_url(url, baudrate=115200, timeout=30)
s.dtr = False
s.rts = False
s.send_break(0.01)
print("cts", s.cts)
s.reset_output_buffer()
every = bytes(range(256))
other = serial.serial_for_url(url, baudrate=115200, timeout=30, do_not_open=True)
other.dtr = other.rts = False
other.open()
s.write(every)
print(s.read(256) == every, other.read(256) == every)
s.baudrate = 57600
try:
    other.baudrate = 9600
    print("another speed")
except ValueError as e:
    print("refused")
s.write(b"end")
print(s.read(3))
other.close()
s.close()
`)
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	p.hears(string(every))
	if n := p.speed(); n != 115200 {
		t.Errorf("the line has speed %d", n)
	}
	p.says(string(every))
	p.hears("end")
	if n := p.speed(); n != 57600 {
		t.Errorf("the line has speed %d", n)
	}
	p.says("end")
	if got, want := end(), "cts False\nTrue True\nrefused\nb'end'\n"; got != want {
		t.Errorf("pyserial says %q, want %q", got, want)
	}
	r.until("the settings of the file", func() bool { return p.speed() == 9600 })
	p.out()
}

// TestSocat: a line that socat makes of a bridge is one to others.
func TestSocat(t *testing.T) {
	if _, err := osexec.LookPath("socat"); err != nil {
		t.Skip("socat is not installed")
	}
	p := newPlug(t)
	p.in()
	r := bridgeOn(t, evloop.Config{}, p, "write = 'any'")
	r.untilUp(true)
	link := filepath.Join(t.TempDir(), "line")
	program(t, "socat", "pty,rawer,link="+link, "tcp:"+r.listen())
	r.until("socat", func() bool { return len(r.bridge().fan.members) == 1 })
	line, err := os.OpenFile(link, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer line.Close()
	if _, err := line.WriteString("hello\n"); err != nil {
		t.Fatal(err)
	}
	p.hears("hello\n")
	p.says("world\n")
	if got, err := bufio.NewReader(line).ReadString('\n'); got != "world\n" {
		t.Errorf("read %q (%v) from socat's line", got, err)
	}
	p.out()
}

// sentences are what a GPS receiver says in a second.
var sentences = []string{
	"$GPRMC,120000.00,A,4807.038,N,01131.000,E,000.0,000.0,261126,,,A",
	"$GPGGA,120000.00,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,",
}

// TestGPSD: gpsd reads a receiver from a bridge.
func TestGPSD(t *testing.T) {
	gpsd, err := osexec.LookPath("gpsd")
	if err != nil {
		if gpsd, err = osexec.LookPath("/usr/sbin/gpsd"); err != nil {
			t.Skip("gpsd is not installed")
		}
	}
	p := newPlug(t)
	p.in()
	r := bridgeOn(t, evloop.Config{}, p, "")
	r.untilUp(true)
	free, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	free.Close()
	program(t, gpsd, "-N", "-n", "-S", fmt.Sprint(port), "tcp://"+r.listen())
	r.until("gpsd", func() bool { return len(r.bridge().fan.members) == 1 })
	var c net.Conn
	for end := time.Now().Add(evlooptest.Patience); c == nil; {
		if c, err = net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port)); err != nil && time.Now().After(end) {
			t.Fatal(err)
		}
	}
	defer c.Close()
	if _, err := c.Write([]byte("?WATCH={\"enable\":true,\"json\":true};\n")); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	spoken := make(chan struct{})
	go func() {
		defer close(spoken)
		for {
			for _, s := range sentences {
				sum := byte(0)
				for _, b := range []byte(s[1:]) {
					sum ^= b
				}
				_, _ = fmt.Fprintf(p.master, "%s*%02X\r\n", s, sum)
			}
			select {
			case <-stop:
				return
			case <-time.After(200 * time.Millisecond): // as a receiver does
			}
		}
	}()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	in := bufio.NewScanner(c)
	for in.Scan() && !strings.Contains(in.Text(), `"lat":48.1173`) {
	}
	if err := in.Err(); err != nil {
		t.Errorf("gpsd does not say where it is: %v", err)
	}
	close(stop)
	<-spoken
	p.out()
}
