// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// These cases are about what only the epoll back end has: the mask that the kernel holds, and how
// many system calls it takes.

// fdinfo returns the number behind key in /proc/self/fdinfo/FD (proc(5)).
func fdinfo(t *testing.T, fd int, key string) uint64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			var v uint64
			if _, err := fmt.Sscanf(rest, "%x", &v); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			return v
		}
	}
	t.Fatalf("no %q in %q", key, text)
	return 0
}

// mask returns the events that epoll waits for on fd, as the kernel tells it:
// "tfd:        7 events: 8000201b data: …", descriptors in decimal.
func (r *rig) mask(fd int) uint32 {
	r.Helper()
	return uint32(fdinfo(r.T, r.l.sys.epfd, fmt.Sprintf("tfd: %8d events:", fd)))
}

func newEpollRig(t *testing.T) *rig {
	return newRig(t, func(cfg Config) *Loop {
		l, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return l
	})
}

func TestOutIsArmedWhileThePeerIsStuck(t *testing.T) {
	r := newEpollRig(t)
	for _, pair := range []func() (*Conn, *peer){r.tcp, r.unix} {
		c, p := pair()
		c.SetOptions(&Options{Queue: 1 << 20}) // so that it goes on reading
		check := func(when string, want uint32) {
			t.Helper()
			if got := r.mask(c.FD()) & unix.EPOLLOUT; got != want {
				t.Errorf("%s: OUT in the mask %#x, want %#x", when, r.mask(c.FD()), want)
			}
		}
		check("at rest", 0)
		r.do(func() { c.Write([]byte("fits")) })
		check("after a send that fitted", 0)
		for range 2 {
			r.stick(c)
			check("while stuck", unix.EPOLLOUT)
			p.write("input changes nothing")
			r.until("Data", func() bool { return bytes.HasSuffix(r.of(c).got, []byte("nothing")) })
			check("while stuck, after input", unix.EPOLLOUT)
			r.spin("an empty queue", func() bool { p.read(); return c.Queued() == 0 })
			check("after it has drained", 0)
		}
	}
}

// The queue can empty without anything being sent.
func TestOutIsDisarmedByDrops(t *testing.T) {
	r := newEpollRig(t)
	c, _ := r.unix()
	c.SetOptions(&Options{Overflow: DropOldest})
	r.clog(c)
	r.do(func() { c.Write([]byte("dropped by the bound of the loop")) })
	if got := r.mask(c.FD()); got&unix.EPOLLOUT == 0 {
		t.Fatalf("mask %#x of a stuck connection, want OUT", got)
	}
	r.do(func() { r.l.SetLimits(0, 1) })
	r.do(func() {
		o, _ := r.unix() // somebody queues, and the bound is collected
		r.clog(o)
		o.Write([]byte("x"))
	})
	if c.Queued() != 0 {
		t.Fatalf("%d bytes queued, want all dropped", c.Queued())
	}
	if got := r.mask(c.FD()); got&unix.EPOLLOUT != 0 {
		t.Errorf("mask %#x with nothing queued, want no OUT", got)
	}
}

// The mask of a connection is set once, edge-triggered, and says what can
// happen on a descriptor of its kind.
func TestMaskOfKinds(t *testing.T) {
	r := newEpollRig(t)
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	read, write := r.add(pipe[0]), r.add(pipe[1])
	stream, _ := r.unix()
	const all = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLPRI | unix.EPOLLRDHUP
	for _, tt := range []struct {
		name string
		c    *Conn
		want uint32
	}{
		{"stream", stream, unix.EPOLLIN | unix.EPOLLPRI | unix.EPOLLRDHUP},
		{"read end", read, unix.EPOLLIN | unix.EPOLLPRI | unix.EPOLLRDHUP},
		{"write end", write, 0},
	} {
		got := r.mask(tt.c.FD())
		if got&all != tt.want || got&edgeTriggered == 0 {
			t.Errorf("%s: mask %#x, want %#x and ET", tt.name, got, tt.want)
		}
	}
	r.do(func() { write.Abort(nil) })
}

// A counter counts the calls of the back end.
type counter struct{ ctl, recv, send, wait int }

func newCountingRig(t *testing.T) (*rig, *counter) {
	n := &counter{}
	r := newSeamRig(t, func(s *simulation) {
		ctl, recv, send, wait := s.epollCtl, s.recv, s.send, s.epollWait
		s.epollCtl = func(op, fd int, events uint32, data token) error { n.ctl++; return ctl(op, fd, events, data) }
		s.recv = func(fd int, p []byte) (int, bool, unix.Errno) { n.recv++; return recv(fd, p) }
		s.send = func(fd int, pieces [][]byte) (int, unix.Errno) { n.send++; return send(fd, pieces) }
		s.epollWait = func(evs []unix.EpollEvent, timeout Time) (int, unix.Errno) { n.wait++; return wait(evs, timeout) }
	})
	return r, n
}

// Peers that read cost no epoll_ctl, one recv and one send for each message.
func TestCallsOfAnEcho(t *testing.T) {
	r, n := newCountingRig(t)
	const echoes = 10_000
	r.onData = func(c *Conn, b []byte) int { c.WriteStatic(b); return len(b) }
	var conns []*Conn
	var peers []*peer
	for range 10 {
		c, p := r.tcp()
		conns, peers = append(conns, c), append(peers, p)
	}
	r.turn()
	*n = counter{}
	message := []byte("sixteen bytes ..")
	for i := range echoes {
		c, p := conns[i%len(conns)], peers[i%len(peers)]
		p.offer(message)
		arrives(t, c.FD(), unix.POLLIN)
		r.turn()
		if got := p.read(); !bytes.Equal(got, message) {
			t.Fatalf("echo %d: %q", i, got)
		}
	}
	if want := (counter{recv: echoes, send: echoes, wait: echoes}); *n != want {
		t.Errorf("%d echoes took %+v, want %+v", echoes, *n, want)
	}
}

// All replies to what one read brought go out in one send.
func TestOneSendForAllReplies(t *testing.T) {
	r, n := newCountingRig(t)
	c, p := r.tcp()
	long := bytes.Repeat([]byte("l"), borrowMin)
	r.onData = func(c *Conn, b []byte) int {
		for i := range b {
			c.Write(b[i : i+1])
			c.WriteStatic([]byte("."))
			if i%8 == 0 {
				c.WriteStatic(long)
			}
		}
		return len(b)
	}
	r.turn()
	*n = counter{}
	p.write("sixteen requests")
	arrives(t, c.FD(), unix.POLLIN)
	r.turn()
	if n.send != 1 || n.recv != 1 || n.ctl != 0 {
		t.Errorf("16 replies took %+v, want one send", *n)
	}
	if got := len(p.read()); got != 32+2*borrowMin {
		t.Errorf("peer got %d bytes", got)
	}
}

// Shared messages to one receiver are gathered as well: 64 to a write.
func TestGatheredWrites(t *testing.T) {
	r, n := newCountingRig(t)
	c, p := r.tcp()
	m := NewMessage([]byte("line\n"))
	r.do(func() {
		*n = counter{}
		for range 10 * maxVectors {
			c.Send(m)
		}
	})
	if n.send != 10 {
		t.Errorf("%d messages took %d sends, want 10", 10*maxVectors, n.send)
	}
	r.gets(p, bytes.Repeat(m.Bytes(), 10*maxVectors))
}

// While the kernel is known to be full, further messages cost no call.
func TestNoSendWhileArmed(t *testing.T) {
	r, n := newCountingRig(t)
	c, _ := r.unix()
	c.SetOptions(&Options{Queue: 1 << 20})
	r.stick(c)
	*n = counter{}
	for range 100 {
		r.do(func() { c.Write([]byte("waits")) })
	}
	if n.send != 0 || n.ctl != 0 {
		t.Errorf("100 messages to a stuck peer took %+v, want no send and no epoll_ctl", *n)
	}
}

// A signal may interrupt any call; it is made again, or the turn is.
func TestInterruptedCalls(t *testing.T) {
	var left struct{ recv, send, wait int }
	interrupted := func(n *int) bool {
		*n--
		return *n >= 0
	}
	r := newSeamRig(t, func(s *simulation) {
		recv, send, wait := s.recv, s.send, s.epollWait
		s.recv = func(fd int, p []byte) (int, bool, unix.Errno) {
			if interrupted(&left.recv) {
				return -1, false, unix.EINTR
			}
			return recv(fd, p)
		}
		s.send = func(fd int, pieces [][]byte) (int, unix.Errno) {
			if interrupted(&left.send) {
				return -1, unix.EINTR
			}
			return send(fd, pieces)
		}
		s.epollWait = func(evs []unix.EpollEvent, timeout Time) (int, unix.Errno) {
			if interrupted(&left.wait) {
				return -1, unix.EINTR
			}
			return wait(evs, timeout)
		}
	})
	c, p := r.tcp()
	r.onData = func(c *Conn, b []byte) int { c.Write(b); return len(b) }
	for range 5 {
		left.recv, left.send, left.wait = 3, 3, 3
		p.write("echo")
		r.gets(p, []byte("echo"))
	}
	if c.Closing() {
		t.Error("an interruption ended the connection")
	}
}

// An epoll that fails has no cure. Run says what it was.
func TestWaitFails(t *testing.T) {
	fails := false
	r := newSeamRig(t, func(s *simulation) {
		wait := s.epollWait
		s.epollWait = func(evs []unix.EpollEvent, timeout Time) (int, unix.Errno) {
			if fails {
				return -1, unix.EBADF
			}
			return wait(evs, timeout)
		}
	})
	fails = true
	if err := r.l.Run(); !errors.Is(err, unix.EBADF) {
		t.Errorf("Run = %v, want EBADF", err)
	}
}

// A connection that cannot wait for room cannot be served; what has no place
// in epoll is not adopted and stays the caller's.
func TestEpollCtlFails(t *testing.T) {
	refused := -1
	r := newSeamRig(t, func(s *simulation) {
		ctl := s.epollCtl
		s.epollCtl = func(op, fd int, events uint32, data token) error {
			if op == refused {
				return unix.ENOMEM
			}
			return ctl(op, fd, events, data)
		}
	})
	c, _ := r.tcp()
	r.clog(c)
	refused = unix.EPOLL_CTL_MOD
	r.do(func() { c.Write([]byte("x")) })
	r.ends(c, unix.ENOMEM)

	refused = unix.EPOLL_CTL_ADD
	ours, _ := socketPair(t, unix.SOCK_STREAM)
	defer unix.Close(ours)
	if c, err := r.l.Add(ours, r.probe, nil); c != nil || !errors.Is(err, unix.ENOMEM) {
		t.Errorf("Add = %v, %v; want ENOMEM", c, err)
	}
	ln := tcpListener(t, 1)
	defer unix.Close(ln)
	if ln, err := r.l.Listen(ln, &door{}); ln != nil || !errors.Is(err, unix.ENOMEM) {
		t.Errorf("Listen = %v, %v; want ENOMEM", ln, err)
	}
	if s := r.l.Stats(); s.Conns != 0 || s.Listeners != 0 {
		t.Errorf("%d connections and %d listeners of what was refused", s.Conns, s.Listeners)
	}
	refused = -1
}

func TestNewWithoutDescriptors(t *testing.T) {
	for left := range 2 {
		release := exhaust(t, left)
		l, err := New(Config{})
		release()
		if l != nil || !errors.Is(err, unix.EMFILE) {
			t.Errorf("%d descriptors left: New = %v, %v; want EMFILE", left, l, err)
		}
	}
}
