// SPDX-License-Identifier: Apache-2.0

package device

import (
	"log/slog"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/report"
	"penstock/evloop"
	"penstock/evloop/evlooptest"
)

// TestHandedDevice: what a device says after it was handed over is for the next process,
// whatever this one does.
func TestHandedDevice(t *testing.T) {
	eachBackend(t, func(t *testing.T, c evloop.Config) {
		master, slave := evlooptest.PTY(t)
		r := serve(t, c, Options{Path: slave})
		r.until("the device", func() bool { return r.ups == 1 })
		write(t, master, "before\n")
		r.want("before\n")
		fd := -1
		r.do(func() {
			fd, _ = r.dev.Hand()
			r.dev.ResumeInput() // as a queue of clients does that has room again
		})
		defer unix.Close(fd)
		write(t, master, "after\n")
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := 0, error(unix.EINTR)
		for err == unix.EINTR {
			n, err = unix.Poll(p, int(evlooptest.Patience.Milliseconds()))
		}
		if n != 1 {
			t.Fatalf("the device says nothing: %v", err)
		}
		r.do(func() {}) // the loop knows of it, too
		r.do(func() {
			if len(r.got) > 0 {
				t.Errorf("this process has read %q", r.got)
			}
		})
		var got [64]byte
		if n, err := unix.Read(fd, got[:]); string(got[:max(n, 0)]) != "after\n" {
			t.Errorf("the next process reads %q (%v)", got[:max(n, 0)], err)
		}
	})
}

// TestCarryOutdated: a restart with another speed does not quarrel with the descriptor
// that it has got, though the former process has it open too.
func TestCarryOutdated(t *testing.T) {
	_, slave := evlooptest.PTY(t)
	r := serve(t, evloop.Config{}, Options{Path: slave, Exclusive: true})
	r.until("the device", func() bool { return r.ups == 1 })
	next := &rig{t: t, loop: r.loop}
	r.do(func() {
		fd, c := r.dev.Hand()
		fast := usual
		fast.Speed = 115200
		next.dev = New(Options{Path: slave, Exclusive: true, TTY: fast}, r.dev.folders, r.dev.log, next)
		if next.dev.Carry(fd, c) {
			t.Error("it goes on with the former speed")
		}
		next.dev.Start()
	})
	r.until("the device, or the news that it cannot be opened", func() bool { return next.ups+next.downs > 0 })
	if next.downs > 0 {
		t.Errorf("it was not opened at once:\n%s", r.logged())
	}
	next.stop()
}

// TestCarrySettings: a restart leaves a line as it is set. The next process, at a clean
// stop, brings back how it was before the first one.
func TestCarrySettings(t *testing.T) {
	master, slave := evlooptest.PTY(t)
	before := speedOf(t, int(master.Fd()))
	fast := usual
	fast.Speed, fast.LowLatency = 115200, true
	o := Options{Path: slave, Exclusive: true, TTY: fast}
	fd, carried := -1, Carried{}
	t.Run("the former process", func(t *testing.T) {
		r := serve(t, evloop.Config{}, o)
		r.until("the device", func() bool { return r.ups == 1 })
		r.do(func() { fd, carried = r.dev.Hand() })
	})
	if n := speedOf(t, int(master.Fd())); n != 115200 {
		t.Errorf("after the end of the former process the line has speed %d", n)
	}
	loop, err := evloop.New(evloop.Config{})
	if err != nil {
		t.Fatal(err)
	}
	next := &rig{t: t, loop: loop}
	log := report.New(slog.New(slog.NewTextHandler(next, nil)), config.PeersFull, loop)
	next.dev = New(o, NewFolders(loop), log.Service("x"), next)
	if !next.dev.Carry(fd, carried) {
		t.Error("it does not go on")
	}
	next.dev.Start()
	t.Cleanup(func() { next.dev.Stop(func() {}) })
	evlooptest.Run(t, loop)
	next.until("the device", func() bool { return next.ups == 1 })
	write(t, master, "x\n")
	next.want("x\n")
	next.do(func() {
		if got, want := next.dev.Refused(), "low_latency=inappropriate ioctl for device"; got != want {
			t.Errorf("the next process knows of %q that it is refused, want %q", got, want)
		}
	})
	next.stop()
	if n := speedOf(t, int(master.Fd())); n != before {
		t.Errorf("after the stop the line has speed %d, before all it had %d", n, before)
	}
}
