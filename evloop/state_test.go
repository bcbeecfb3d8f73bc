// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// lineEcho answers whole lines with a prefix that it remembers in State, and
// leaves partial lines to the loop.
type lineEcho struct {
	opened, restored int
	closed           []error
}

func (h *lineEcho) Open(c *Conn) { h.opened++; c.State = "0" }

func (h *lineEcho) Data(c *Conn, p []byte) int {
	used := 0
	for {
		i := bytes.IndexByte(p[used:], '\n')
		if i < 0 || c.Full() {
			return used
		}
		c.Write(fmt.Appendf(nil, "%v:%s", c.State, p[used:used+i+1]))
		used += i + 1
	}
}

func (h *lineEcho) EOF(c *Conn)               { c.CloseAfterFlush(1e9, nil) }
func (h *lineEcho) Drained(*Conn)             {}
func (h *lineEcho) Closed(_ *Conn, err error) { h.closed = append(h.closed, err) }

func (h *lineEcho) Saved(c *Conn) ([]byte, error) { return []byte(c.State.(string)), nil }

func (h *lineEcho) Restored(c *Conn, state []byte) error {
	if len(state) == 0 {
		return errors.New("no state")
	}
	h.restored++
	c.State = string(state)
	return nil
}

// A half-read, half-sent echo moves between two loops and loses no byte: part
// of a question lies in the first loop, replies wait in its queue, one of
// them has begun to go out, and further questions wait in the socket.
func TestDetachRestoreMidway(t *testing.T) {
	first, second := openLoop(t), openLoop(t)
	ours, peer := unixPair(t)
	unix.SetsockoptInt(ours, unix.SOL_SOCKET, unix.SO_SNDBUF, 4096)
	h1, h2 := &lineEcho{}, &lineEcho{}
	c, err := first.Add(ours, h1, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.SetOptions(&Options{Queue: 16 << 10})
	c.State = "kept"

	line := bytes.Repeat([]byte("x"), 999)
	line = append(line, '\n')
	sent := 0
	for range 60 { // until the replies do not fit the socket any more
		if _, err := unix.SendmsgN(peer, line, nil, nil, unix.MSG_DONTWAIT); err != nil {
			break
		}
		sent++
		turn(t, first)
	}
	if _, err := unix.SendmsgN(peer, []byte("part"), nil, nil, unix.MSG_DONTWAIT); err != nil {
		t.Fatal(err)
	}
	turn(t, first)
	if c.Queued() == 0 {
		t.Fatal("the socket took everything; the test needs a queue")
	}

	fd, saved, err := c.Detach()
	if err != nil {
		t.Fatal(err)
	}
	if len(h1.closed) != 1 || !errors.Is(h1.closed[0], ErrDetached) {
		t.Errorf("Closed on the first loop: %v, want ErrDetached once", h1.closed)
	}
	if first.Stats().Conns != 0 || first.Stats().Queued != 0 {
		t.Errorf("the first loop keeps %+v", first.Stats())
	}
	if _, err := second.Restore(fd, h2, nil, nil, saved); err != nil {
		t.Fatal(err)
	}
	if h2.opened != 0 || h2.restored != 1 {
		t.Errorf("opened %d, restored %d, want 0 and 1", h2.opened, h2.restored)
	}
	if _, err := unix.Write(peer, []byte("ial\n")); err != nil {
		t.Fatal(err)
	}
	unix.Shutdown(peer, unix.SHUT_WR)

	want := bytes.Repeat(append([]byte("kept:"), line...), sent)
	want = append(want, "kept:partial\n"...)
	var got []byte
	buf := make([]byte, 64<<10)
	for len(h2.closed) == 0 || len(got) < len(want) {
		turn(t, second)
		n, err := unix.Read(peer, buf)
		if n > 0 {
			got = append(got, buf[:n]...)
		} else if err == nil {
			break
		}
	}
	if !bytes.Equal(got, want) {
		t.Errorf("peer got %d bytes, want %d; equal up to %d", len(got), len(want), commonPrefix(got, want))
	}
}

func commonPrefix(a, b []byte) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// What cannot be carried is refused, and the connection stays as it was.
func TestDetachRefused(t *testing.T) {
	l := openLoop(t)
	ours, peer := unixPair(t)
	var inside error
	h := &dataFunc{f: func(c *Conn, p []byte) int {
		_, _, inside = c.Detach()
		c.Write(p)
		return len(p)
	}}
	if _, err := l.Add(ours, h, nil); err != nil {
		t.Fatal(err)
	}
	unix.Write(peer, []byte("x"))
	turn(t, l)
	if !errors.Is(inside, unix.EBUSY) {
		t.Errorf("Detach inside Data = %v, want EBUSY", inside)
	}
	if n, _ := unix.Read(peer, make([]byte, 8)); n != 1 {
		t.Errorf("the refused connection echoed %d bytes, want 1", n)
	}
}

// dataFunc is a handler of which only Data matters.
type dataFunc struct{ f func(*Conn, []byte) int }

func (h *dataFunc) Open(*Conn)                 {}
func (h *dataFunc) Data(c *Conn, p []byte) int { return h.f(c, p) }
func (h *dataFunc) EOF(c *Conn)                { c.CloseAfterFlush(0, nil) }
func (h *dataFunc) Drained(*Conn)              {}
func (h *dataFunc) Closed(*Conn, error)        {}

// FuzzRestoreState checks that no record makes decode panic or accept bytes
// that it does not write back.
func FuzzRestoreState(f *testing.F) {
	l, err := New(Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { l.Close() })
	c := &Conn{loop: l, h: &lineEcho{}, opts: defaultOptions, kind: bothWays | kindSocket, fd: -1, flags: flagDetached}
	c.slot, c.gen = l.conns.insert(c)
	f.Add(c.encode(nil))
	c.in = []byte("kept")
	l.enqueue(c, NewMessage([]byte("queued")))
	c.out.off, c.reason = 2, ErrIdle
	f.Add(c.encode([]byte("state")))
	c.in = nil
	l.clearQueue(c)
	f.Fuzz(func(t *testing.T, b []byte) {
		var r record
		if r.decode(b) != nil {
			return
		}
		if int(r.off) > len(b) || len(r.in) > len(b) || len(r.messages) > len(b) {
			t.Errorf("decoded more than the %d bytes given", len(b))
		}
	})
}

func openLoop(t *testing.T) *Loop {
	t.Helper()
	l, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func turn(t *testing.T, l *Loop) {
	t.Helper()
	if err := l.turn(false); err != nil {
		t.Fatal(err)
	}
}

// unixPair returns a blocking-free stream pair; the second end is the test's.
func unixPair(t *testing.T) (ours, peer int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[1]) })
	return fds[0], fds[1]
}
