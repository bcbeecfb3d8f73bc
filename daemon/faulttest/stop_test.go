// SPDX-License-Identifier: Apache-2.0

package faulttest

import (
	"net"
	"os"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestStopped: the daemon stands still for longer than a client may be silent. A
// client that spoke in time is served.
func TestStopped(t *testing.T) {
	need(t)
	forBackends(t, func(t *testing.T, backend string) {
		h := newHost(t, backend, "")
		h.edit(`kind = "echo"`, "kind = \"echo\"\nidle_timeout = \"1500ms\"")
		d := h.start()
		var all []*client
		for i := range 40 {
			c, err := h.dial([]string{"echo", "echo-unix"}[i%2])
			h.check(err)
			h.check(c.round())
			all = append(all, c)
		}
		h.check(d.cmd.Process.Signal(unix.SIGSTOP))
		for _, c := range all {
			_, err := c.Write([]byte("in time"))
			h.check(err)
		}
		time.Sleep(3 * time.Second) // what is tested is that time passes
		h.check(d.cmd.Process.Signal(unix.SIGCONT))
		for _, c := range all {
			if err := c.expect([]byte("in time")); err != nil {
				t.Error(err)
			}
			_ = c.Close()
		}
		h.serves()
		d.stop()
	})
}

// TestStopsOften interrupts every call that can be: SIGCONT makes epoll_wait
// and io_uring_enter return with EINTR (signal(7)).
func TestStopsOften(t *testing.T) {
	need(t)
	forBackends(t, func(t *testing.T, backend string) {
		h := newHost(t, backend, "")
		d := h.start()
		guests := h.guests()
		lost := make(chan map[string]int, 1)
		go func() {
			for range 9 {
				h.traffic(guests, injection{})
			}
			lost <- h.traffic(guests, injection{})
		}()
		for {
			select {
			case l := <-lost:
				if len(l) > 0 {
					t.Errorf("clients were ended: %v\n%s", l, d.all())
				}
				d.calm()
				for _, g := range guests {
					_ = g.Close()
				}
				d.stop()
				return
			case <-time.After(time.Millisecond):
			}
			h.check(d.cmd.Process.Signal(unix.SIGSTOP))
			h.check(d.cmd.Process.Signal(unix.SIGCONT))
		}
	})
}

// TestSlowExec: the program's file is on a card that has stalled. The kernel
// asks us before each exec, and we do not answer (fanotify(7)).
func TestSlowExec(t *testing.T) {
	need(t)
	forBackends(t, func(t *testing.T, backend string) {
		h := newHost(t, backend, "")
		fd := h.watchExec()
		defer unix.Close(fd)
		d := h.start()
		asks, err := h.dial("handler")
		h.check(err)
		_, err = asks.Write([]byte("question\n"))
		h.check(err)
		held := waitExec(t, fd)
		for _, s := range []string{"echo", "echo-unix", "lookup", "room"} {
			c, err := h.dialFor(s, 5*time.Second)
			if err == nil {
				err = c.visit()
			}
			if err != nil {
				t.Errorf("while a program starts: %v", err)
			}
		}
		d.calm()
		allowExec(t, fd, held)
		h.check(asks.expect([]byte("question")))
		h.check(asks.Close())
		h.serves()
		d.stop()
	})
}

// watchExec has the kernel ask at fd before it executes the handler's program. The
// caller closes fd, which allows whatever still waits.
func (h *host) watchExec() (fd int) {
	h.t.Helper()
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_CONTENT|unix.FAN_CLOEXEC, unix.O_RDONLY|unix.O_CLOEXEC)
	if err != nil {
		h.t.Skipf("fanotify_init: %v", err)
	}
	if err := unix.FanotifyMark(fd, unix.FAN_MARK_ADD, unix.FAN_OPEN_EXEC_PERM, unix.AT_FDCWD, h.path("program")); err != nil {
		_ = unix.Close(fd)
		h.t.Skipf("fanotify_mark: %v", err)
	}
	return fd
}

// waitExec returns the descriptor of the file that is about to be executed.
func waitExec(t *testing.T, fd int) int32 {
	t.Helper()
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := 0, error(unix.EINTR)
	for err == unix.EINTR {
		n, err = unix.Poll(p, int(patience.Milliseconds()))
	}
	if n == 0 || err != nil {
		t.Fatalf("no exec: %v", err)
	}
	var ev unix.FanotifyEventMetadata
	b := unsafe.Slice((*byte)(unsafe.Pointer(&ev)), unsafe.Sizeof(ev))
	if _, err := unix.Read(fd, b); err != nil {
		t.Fatal(os.NewSyscallError("read", err))
	}
	return ev.Fd
}

func allowExec(t *testing.T, fd int, file int32) {
	t.Helper()
	answer := unix.FanotifyResponse{Fd: file, Response: unix.FAN_ALLOW}
	b := unsafe.Slice((*byte)(unsafe.Pointer(&answer)), unsafe.Sizeof(answer))
	if _, err := unix.Write(fd, b); err != nil {
		t.Fatal(os.NewSyscallError("write", err))
	}
	_ = unix.Close(int(file))
}

// TestFewFiles: there are more clients than descriptors. Clients that are in are
// served, the others wait, and the daemon does not spin.
func TestFewFiles(t *testing.T) {
	need(t, "prlimit")
	forBackends(t, func(t *testing.T, backend string) {
		h := newHost(t, backend, "")
		d := h.start("prlimit", "--nofile=64:64")
		var all []*client
		for i := range 120 {
			socket := []string{"echo", "lookup"}[i%2]
			conn, err := dialFrom(&net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(i))}, h.at[socket], nil) // a source has its own bound
			h.check(err)
			all = append(all, &client{Conn: conn, socket: socket, patience: patience})
		}
		d.calm()
		var done sync.WaitGroup // all at once: each makes room for another, of whatever listener
		for _, c := range all {
			done.Go(func() {
				if err := c.visit(); err != nil {
					t.Error(err)
				}
			})
		}
		done.Wait()
		h.serves()
		d.logIfFailed()
		d.stop()
	})
}

// TestFewerFiles takes descriptors away from a daemon that has counted on
// them: it opens more than it can have (EMFILE).
func TestFewerFiles(t *testing.T) {
	need(t)
	forBackends(t, func(t *testing.T, backend string) {
		h := newHost(t, backend, "")
		d := h.start()
		guests := h.guests()
		n := uint64(d.files())
		few := unix.Rlimit{Cur: n, Max: n}
		h.check(unix.Prlimit(d.pid(), unix.RLIMIT_NOFILE, &few, nil))
		// Several: what the program's start has closed meanwhile is room again.
		var waiting []*client
		for range 8 {
			c, err := h.dial("echo")
			h.check(err)
			waiting = append(waiting, c)
		}
		d.await("accept failed, clients wait.*too many open files")
		for _, g := range guests {
			if err := g.round(); err != nil {
				t.Error(err)
			}
		}
		d.calm()
		for _, g := range guests {
			_ = g.Close()
		}
		for _, c := range waiting {
			if err := c.visit(); err != nil {
				t.Error(err)
			}
		}
		h.serves()
		d.stop()
	})
}
