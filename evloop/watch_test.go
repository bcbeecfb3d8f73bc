// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A lookout notes what its watches were told.
type lookout struct {
	events []uint32
	ready  func(w *Watch)
}

func (o *lookout) Ready(w *Watch, events uint32) {
	o.events = append(o.events, events)
	if o.ready != nil {
		o.ready(w)
	}
}

func (r *rig) watch(fd int, o *lookout) *Watch {
	r.Helper()
	w, err := r.l.Watch(fd, unix.EPOLLIN, o)
	if err != nil {
		r.Fatal(err)
	}
	if w.FD() != fd {
		r.Errorf("FD() = %d, want %d", w.FD(), fd)
	}
	return w
}

// open returns fd, to be closed with the test.
func (r *rig) open(fd int, err error) int {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { unix.Close(fd) })
	return fd
}

func signal(fd int) {
	unix.Write(fd, binary.NativeEndian.AppendUint64(nil, 1))
}

// An eventfd is reported at each write.
func TestLoopWatchEventfd(t *testing.T) { eachBackend(t, watchEventfd) }

func watchEventfd(r *rig) {
	fd := r.open(unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC))
	o := &lookout{}
	r.watch(fd, o)
	r.turn()
	for want := 1; want <= 3; want++ {
		signal(fd)
		r.until("an event", func() bool { return len(o.events) == want })
		r.turn() // edge-triggered: not again without another write
		if len(o.events) != want || o.events[want-1]&unix.EPOLLIN == 0 {
			r.Errorf("events %#x after %d writes", o.events, want)
		}
	}
}

// A timerfd is reported when it expires.
func TestLoopWatchTimerfd(t *testing.T) { eachBackend(t, watchTimerfd) }

func watchTimerfd(r *rig) {
	fd := r.open(unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC))
	o := &lookout{}
	r.watch(fd, o)
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(time.Millisecond))}
	if err := unix.TimerfdSettime(fd, 0, &spec, nil); err != nil {
		r.Fatal(err)
	}
	r.until("the timer", func() bool { return len(o.events) == 1 })
}

// A pidfd is reported when the process ends.
func TestLoopWatchPidfd(t *testing.T) { eachBackend(t, watchPidfd) }

func watchPidfd(r *rig) {
	cmd := exec.Command("cat") // not this test itself, which an emulator may run
	in, err := cmd.StdinPipe() // it lives until this is closed
	if err != nil {
		r.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		r.Fatal(err)
	}
	fd := r.open(unix.PidfdOpen(cmd.Process.Pid, 0))
	o := &lookout{}
	r.watch(fd, o)
	in.Close()
	r.until("the end of the process", func() bool { return len(o.events) > 0 })
	if err := cmd.Wait(); err != nil {
		r.Error(err)
	}
}

// Inotify is reported when a file changes.
func TestLoopWatchInotify(t *testing.T) { eachBackend(t, watchInotify) }

func watchInotify(r *rig) {
	dir := r.TempDir()
	fd := r.open(unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC))
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_CLOSE_WRITE); err != nil {
		r.Fatal(err)
	}
	o := &lookout{}
	r.watch(fd, o)
	if err := os.WriteFile(filepath.Join(dir, "f"), nil, 0o600); err != nil {
		r.Fatal(err)
	}
	r.until("a change", func() bool { return len(o.events) == 1 })
}

// Close leaves the descriptor open and ends the events.
func TestLoopWatchClose(t *testing.T) { eachBackend(t, watchClose) }

func watchClose(r *rig) {
	fd := r.open(unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC))
	o := &lookout{}
	w := r.watch(fd, o)
	w.Close()
	w.Close()
	signal(fd)
	r.turn()
	if len(o.events) != 0 || r.l.Stats().StaleEvents != 0 {
		r.Errorf("events %#x, %d stale, after Close", o.events, r.l.Stats().StaleEvents)
	}
	if _, err := unix.Read(fd, make([]byte, 8)); err != nil {
		r.Errorf("the descriptor after Close: %v", err)
	}
	r.watch(fd, o) // and once more
	signal(fd)
	r.until("an event", func() bool { return len(o.events) == 1 })
}

// Close in Ready ends the events of its watch, and of another in the same batch.
func TestLoopWatchCloseInReady(t *testing.T) { eachBackend(t, watchCloseInReady) }

func watchCloseInReady(r *rig) {
	a := r.open(unix.Eventfd(1, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC))
	b := r.open(unix.Eventfd(1, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC))
	o := &lookout{}
	watches := []*Watch{r.watch(a, o), r.watch(b, o)}
	o.ready = func(*Watch) {
		for _, w := range watches {
			w.Close()
		}
	}
	r.turn()
	if len(o.events) != 1 || r.l.Stats().StaleEvents != 1 {
		r.Errorf("%d events, %d stale; want 1 and 1", len(o.events), r.l.Stats().StaleEvents)
	}
}

// What cannot be polled is refused.
func TestLoopWatchRefuses(t *testing.T) { eachBackend(t, watchRefuses) }

func watchRefuses(r *rig) {
	file, err := os.Create(filepath.Join(r.TempDir(), "f"))
	if err != nil {
		r.Fatal(err)
	}
	defer file.Close()
	for name, tt := range map[string]struct {
		fd   int
		want error
	}{
		"a regular file": {int(file.Fd()), unix.EPERM},
		"no descriptor":  {-1, unix.EBADF},
	} {
		if w, err := r.l.Watch(tt.fd, unix.EPOLLIN, &lookout{}); w != nil || !errors.Is(err, tt.want) {
			r.Errorf("%s: Watch = %v, %v; want %v", name, w, err, tt.want)
		}
		if c, err := r.l.Add(tt.fd, r.probe, nil); c != nil || !errors.Is(err, tt.want) {
			r.Errorf("%s: Add = %v, %v; want %v", name, c, err, tt.want)
		}
	}
	if len(r.probe.conns) != 0 {
		r.Error("Open was called for what was refused")
	}
}
