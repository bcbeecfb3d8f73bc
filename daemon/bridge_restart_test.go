// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/evloop/evlooptest"
)

// A line is a device that the test plays: the other end of a pseudo-terminal.
type line struct {
	t      *testing.T
	master *os.File
	slave  string
}

func newLine(t *testing.T) line {
	t.Helper()
	master, slave := evlooptest.PTY(t)
	return line{t, master, slave}
}

func (l line) says(text string) {
	l.t.Helper()
	if _, err := l.master.WriteString(text); err != nil {
		l.t.Fatal(err)
	}
}

// hears reads exactly these bytes.
func (l line) hears(want string) {
	l.t.Helper()
	got := make([]byte, len(want))
	if n, err := l.master.Read(got); string(got[:n]) != want {
		l.t.Fatalf("the device got %q, %v, want %q", got[:n], err, want)
	}
}

// TestRestartCarriesDevice: the next process goes on with the open device. What it says
// between the two is not lost, half a line is ended, and clients notice nothing. A line
// gets its settings back at the stop, and not at the restart.
func TestRestartCarriesDevice(t *testing.T) {
	for _, backend := range []string{"epoll", "auto"} {
		t.Run(backend, func(t *testing.T) {
			dev := newLine(t)
			socket := t.TempDir() + "/s"
			conf := func(more string) string {
				return fmt.Sprintf("[loop]\nbackend = %q\n[service.b]\nkind = 'bridge'\nlisten = ['%s']\ndevice = '%s'\nwrite = 'any'\nnotice = '# {state}'\nhistory = 2\n%s", backend, socket, dev.slave, more)
			}
			echo := func() bool {
				t.Helper()
				s, err := unix.IoctlGetTermios(int(dev.master.Fd()), unix.TCGETS2)
				if err != nil {
					t.Fatal(err)
				}
				return s.Lflag&unix.ECHO != 0
			}
			cfg := parse(t, conf(""))
			r, _ := runRestartable(t, cfg)
			c := talk(t, socket)
			c.say("open?\n")
			dev.hears("open?\n")
			if echo() {
				t.Error("the line is not set")
			}
			dev.says("one\nha")
			c.hears("one\n")
			c.say("un")
			r.taken("b", 8)
			queue := r.leave(t)
			if echo() {
				t.Error("the line got its settings back at the restart")
			}
			dev.says("lf\n")
			r, out := runRestartable(t, cfg, queue)
			dev.says("two\n")
			c.hears("half\ntwo\n")
			c.say("ended\n")
			dev.hears("unended\n")
			newcomer := talk(t, socket)
			newcomer.hears("half\ntwo\n")
			newcomer.Close()

			r, _ = r.restart(t, parse(t, conf("speed = 115200"))) // opened anew
			c.hears("# back\n")
			dev.says("three\n")
			c.hears("three\n")
			c.Close()
			r.stop(t)
			if !echo() {
				t.Error("the line did not get its settings back at the stop")
			}
			if strings.Contains(out.String(), "device open") {
				t.Errorf("the device was opened anew:\n%s", out)
			}
		})
	}
}

// TestRestartCarriesHolder: the client that holds the device holds it after a restart.
func TestRestartCarriesHolder(t *testing.T) {
	dev := newLine(t)
	socket := t.TempDir() + "/s"
	cfg := parse(t, fmt.Sprintf("[service.b]\nkind = 'bridge'\nlisten = ['%s']\ndevice = '%s'\nwrite = 'first'\n", socket, dev.slave))
	r, _ := runRestartable(t, cfg)
	a, b := talk(t, socket), talk(t, socket)
	b.say("b1\n")
	dev.hears("b1\n")
	r, _ = r.restart(t, cfg)
	a.say("a first\n")
	r.taken("b", 8)
	b.say("b2\n")
	dev.hears("b2\n")
	b.Close()
	a.Close()
	r.stop(t)
}

// TestRestartCarriesStored: what waits for an absent device waits on in the next process.
func TestRestartCarriesStored(t *testing.T) {
	dev := newLine(t)
	tty, err := os.OpenFile(dev.slave, os.O_RDWR|unix.O_NOCTTY, 0) // so that it does not hang up before
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	dir := t.TempDir()
	cfg := parse(t, fmt.Sprintf("[service.b]\nkind = 'bridge'\nlisten = ['%s/s']\ndevice = '%[1]s/tty'\nwrite = 'transaction'\nreply_timeout = '10m'\nabsent = 'queue'\n", dir))
	r, _ := runRestartable(t, cfg)
	a := talk(t, dir+"/s")
	a.say("one\ntwo\n")
	r.until("messages that wait for the device", func() bool { return r.snapshot().Services[0].Source.Queued == 8 })
	r, _ = r.restart(t, cfg)
	if err := os.Symlink(dev.slave, dir+"/tty"); err != nil {
		t.Fatal(err)
	}
	for _, m := range []string{"one\n", "two\n"} {
		dev.hears(m)
		dev.says("re " + m)
		a.hears("re " + m)
	}
	a.Close()
	r.stop(t)
}

// TestRestartCarriesTransaction: the reply that comes after a restart goes to the client
// that asked before it, and then it is the turn of the one that waits. A transaction
// whose device is opened anew is over.
func TestRestartCarriesTransaction(t *testing.T) {
	for _, backend := range []string{"epoll", "auto"} {
		t.Run(backend, func(t *testing.T) {
			dev := newLine(t)
			socket := t.TempDir() + "/s"
			conf := func(more string) string {
				return fmt.Sprintf("[loop]\nbackend = %q\n[service.b]\nkind = 'bridge'\nlisten = ['%s']\ndevice = '%s'\nwrite = 'transaction'\nreply_timeout = '10m'\n%s", backend, socket, dev.slave, more)
			}
			cfg := parse(t, conf(""))
			r, _ := runRestartable(t, cfg)
			a, b := talk(t, socket), talk(t, socket)
			a.say("ask\n")
			dev.hears("ask\n")
			b.say("wait\n")
			r.taken("b", 5)
			dev.says("re ")
			queue := r.leave(t)
			dev.says("ask\nnews\n")
			r, _ = runRestartable(t, cfg, queue)
			a.hears("re ask\nnews\n")
			dev.hears("wait\n")
			b.hears("news\n")
			dev.says("re wait\n")
			b.hears("re wait\n")
			a.say("again\n")
			dev.hears("again\n")
			r, out := r.restart(t, parse(t, conf("speed = 115200\nnotice = '# {state}'"))) // opened anew
			b.hears("# back\n")
			b.say("next\n")
			dev.hears("next\n")
			dev.says("re next\n")
			b.hears("re next\n")
			a.Close()
			b.Close()
			r.stop(t)
			if !strings.Contains(out.String(), "message without a reply") {
				t.Errorf("no word of the message that has no reply:\n%s", out)
			}
		})
	}
}

// TestRestartEndsProgram: a bridge's program is ended and another one started, and the
// clients learn of the gap.
func TestRestartEndsProgram(t *testing.T) {
	socket := t.TempDir() + "/s"
	cfg := parse(t, fmt.Sprintf("[service.b]\nkind = 'bridge'\nlisten = ['%s']\ncommand = ['/bin/cat']\nwrite = 'any'\nnotice = '# {state}'\non_loss = 'close'\n", socket))
	r, _ := runRestartable(t, cfg)
	c := talk(t, socket)
	c.say("one\n")
	c.hears("one\n")
	r, _ = r.restart(t, cfg)
	c.hears("# gone\n# back\n")
	c.say("two\n")
	c.hears("two\n")
	c.Close()
	r.stop(t)
}

// TestRestartWritesToDevice: a restart that waits for the program of one service does not
// keep messages from the device of another.
func TestRestartWritesToDevice(t *testing.T) {
	dev := newLine(t)
	dir := t.TempDir()
	fifo := dir + "/fifo"
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	conf := fmt.Sprintf("[service.device]\nkind = 'bridge'\nlisten = ['%s/d']\ndevice = '%s'\nwrite = 'any'\n", dir, dev.slave)
	slow := fmt.Sprintf("[service.slow]\nkind = 'bridge'\nlisten = ['%s/s']\ncommand = ['/bin/sh', '-c', 'echo up; read line <%s']\nwrite = 'any'\nhistory = 1\ndrain_timeout = '1m'\n", dir, fifo)
	r, _ := runRestartable(t, parse(t, conf+slow))
	c := talk(t, dir+"/d")
	c.say("before\n")
	dev.hears("before\n")
	talk(t, dir+"/s").hears("up\n")
	r.do(func() { r.handOverBy(unix.SIGUSR2) })
	c.say("meanwhile\n")
	dev.hears("meanwhile\n")
	if err := os.WriteFile(fifo, []byte("end\n"), 0); err != nil {
		t.Fatal(err)
	}
	r, _ = runRestartable(t, parse(t, conf), r.left(t))
	c.say("after\n")
	dev.hears("after\n")
	c.Close()
	r.stop(t)
}
