// SPDX-License-Identifier: Apache-2.0

package device

import (
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/tty"
	"penstock/evloop"
	"penstock/evloop/evlooptest"
)

// speedOf returns the speed of the line of a pseudo-terminal.
func speedOf(t *testing.T, fd int) int {
	t.Helper()
	now, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
	if err != nil {
		t.Fatal(err)
	}
	return int(now.Ospeed)
}

// TestControl: a line in use is set without being opened anew, the next opening keeps to
// it, and what a clean stop brings back is how the line was before all that.
func TestControl(t *testing.T) {
	eachBackend(t, func(t *testing.T, c evloop.Config) {
		master, slave := evlooptest.PTY(t)
		before := speedOf(t, int(master.Fd()))
		fast := usual
		fast.Speed = 115200
		r := serve(t, c, Options{Path: slave, Write: true})
		r.until("the device", func() bool { return r.ups == 1 })
		done := 0
		set := func(fd int) { _, _ = tty.Change(fd, fast) }
		r.do(func() {
			r.dev.Write([]byte("slow\n"))
			if !r.dev.Control(false, set, func() { done++ }) {
				t.Error("an open line cannot be set")
			}
			r.dev.Set(fast)
		})
		r.until("the end of it", func() bool { return done == 1 })
		if n := speedOf(t, int(master.Fd())); n != 115200 {
			t.Errorf("the line has speed %d", n)
		}
		r.do(func() {
			if r.ups != 1 || r.dev.Settings() != fast || r.dev.Filed() != usual {
				t.Errorf("opened %d times, to be set to %+v, the file has %+v", r.ups, r.dev.Settings(), r.dev.Filed())
			}
		})
		// A goroutine that is late finds the line as the stop has left it.
		held, release := make(chan struct{}), make(chan struct{})
		ended := false
		r.do(func() {
			r.dev.Control(false, func(int) { close(held); <-release }, func() {})
		})
		<-held
		r.do(func() { r.dev.Stop(func() { ended = true }) })
		r.do(func() {
			if ended || r.dev.Control(false, set, func() {}) {
				t.Error("the device is closed while a goroutine uses it, or set after its end")
			}
		})
		close(release)
		r.until("the end of the device", func() bool { return ended })
		if n := speedOf(t, int(master.Fd())); n != before {
			t.Errorf("after the stop the line has speed %d, before it had %d", n, before)
		}
	})
}

// TestControlOfAJam: a line that is full is waited for once, and then set at once until
// something goes out again.
func TestControlOfAJam(t *testing.T) {
	eachBackend(t, func(t *testing.T, c evloop.Config) {
		master, slave := evlooptest.PTY(t)
		r := serve(t, c, Options{Path: slave, Write: true})
		r.until("the device", func() bool { return r.ups == 1 })
		set, done := 0, 0
		control := func(patience time.Duration) {
			r.do(func() {
				r.dev.Times.Sent = patience
				r.dev.Control(true, func(int) { set++ }, func() { done++ })
			})
		}
		text := strings.Repeat("x", 64<<10) // more than a pseudo-terminal holds
		r.do(func() { r.dev.Write([]byte(text)) })
		control(time.Millisecond)
		r.until("a wait in vain", func() bool { return done == 1 })
		control(time.Hour)
		r.until("no wait", func() bool { return done == 2 })

		control(time.Millisecond)
		r.until("no wait", func() bool { return done == 3 })
		got := make([]byte, len(text)/2)
		if _, err := io.ReadFull(master, got); err != nil {
			t.Fatal(err)
		}
		r.until("room", func() bool { return r.dev.jam.taken != r.dev.conn.BytesOut() })
		control(time.Hour)
		r.do(func() {
			if done != 3 || set != 3 {
				t.Errorf("a line that moves was set %d times, want 3", set)
			}
		})
		if _, err := io.ReadFull(master, got); err != nil {
			t.Fatal(err)
		}
		r.until("the line", func() bool { return done == 4 })
	})
}

// TestControlOfNoLine: a FIFO and a device that is not there cannot be set, and a line
// that goes is done with.
func TestControlOfNoLine(t *testing.T) {
	name := t.TempDir() + "/fifo"
	r := serve(t, evloop.Config{}, Options{Path: name})
	never := func(int) { t.Error("it was set") }
	r.do(func() {
		if r.dev.Control(true, never, func() {}) {
			t.Error("an absent device can be set")
		}
	})
	if err := unix.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	r.until("the FIFO", func() bool { return r.ups == 1 })
	r.do(func() {
		if r.dev.Control(true, never, func() {}) {
			t.Error("a FIFO can be set")
		}
	})

	_, slave := evlooptest.PTY(t)
	l := serve(t, evloop.Config{}, Options{Path: slave, Write: true})
	l.until("the device", func() bool { return l.ups == 1 })
	done := false
	l.do(func() {
		l.dev.Control(true, func(int) {}, func() { done = true })
		l.dev.advance(gone)
	})
	l.until("the news of its end", func() bool { return done })
}
