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

	fd, saved, err := detach(c)
	if err != nil {
		t.Fatal(err)
	}
	if len(h1.closed) != 1 || !errors.Is(h1.closed[0], ErrDetached) {
		t.Errorf("Closed on the first loop: %v, want ErrDetached once", h1.closed)
	}
	if first.Stats().Conns != 0 || first.Stats().Queued != 0 {
		t.Errorf("the first loop keeps %+v", first.Stats())
	}
	if _, err := restore(second, fd, h2, nil, nil, saved); err != nil {
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
		_, _, inside = detach(c)
		c.Write(p)
		return len(p)
	}}
	if _, err := l.Add(ours, h, nil); err != nil {
		t.Fatal(err)
	}
	unix.Write(peer, []byte("x"))
	turn(t, l)
	if !errors.Is(inside, ErrBusy) {
		t.Errorf("Detach inside Data = %v, want ErrBusy", inside)
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

// What the handler is owed goes along: a Drained that is due, and the mark of a
// queue that has fallen below the bound and not yet to the low-water mark.
func TestDrainedSurvivesRestore(t *testing.T) {
	for _, due := range []bool{false, true} {
		first, second := openLoop(t), openLoop(t)
		ours, peer := unixPair(t)
		unix.SetsockoptInt(ours, unix.SOL_SOCKET, unix.SO_SNDBUF, 4096)
		h := &drainCount{}
		c, err := first.Add(ours, h, nil)
		if err != nil {
			t.Fatal(err)
		}
		o := &Options{Queue: 60_000, LowWater: 5000}
		c.SetOptions(o)
		first.enter()
		for !c.Full() {
			c.Write(make([]byte, 1000))
		}
		first.leave()
		buf := make([]byte, 1000)
		for c.flags&flagDrained == 0 && (due || c.Queued() > 30_000) {
			unix.Read(peer, buf)
			turn(t, first)
		}
		if due != (c.flags&flagDrained != 0) || due == c.Full() || h.drained > 0 {
			t.Fatalf("full %t, drained %d times, %d bytes queued; the test needs it due: %t", c.Full(), h.drained, c.Queued(), due)
		}
		fd, saved, err := detach(c)
		if err != nil {
			t.Fatal(err)
		}
		if c, err = restore(second, fd, h, nil, o, saved); err != nil {
			t.Fatal(err)
		}
		for range 1000 {
			unix.Read(peer, buf)
			turn(t, second)
		}
		if h.drained != 1 || c.Full() {
			t.Errorf("due %t: Drained was called %d times, full %t; want once", due, h.drained, c.Full())
		}
	}
}

// drainCount is a handler of which only Drained matters.
type drainCount struct {
	dataFunc
	drained int
}

func (h *drainCount) Drained(*Conn) { h.drained++ }

// A connection that was given back by a Restorer hears no more of it.
func TestNothingIsToldAfterAFailedRestore(t *testing.T) {
	first, second := openLoop(t), openLoop(t)
	ours, _ := unixPair(t)
	h := &refusesRestore{}
	c, err := first.Add(ours, h, nil)
	if err != nil {
		t.Fatal(err)
	}
	fd, saved, err := detach(c)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := restore(second, fd, h, nil, &Options{Queue: 1, Overflow: DropNewest}, saved); err == nil {
		t.Fatal("restored")
	}
	turn(t, second)
	turn(t, second)
	if h.refused == 0 || h.told > 0 {
		t.Errorf("%d messages refused, Dropped called %d times; want some and none", h.refused, h.told)
	}
}

// refusesRestore loses messages and then does not want the connection.
type refusesRestore struct {
	dataFunc
	refused, told int
}

func (h *refusesRestore) Saved(*Conn) ([]byte, error) { return nil, nil }

func (h *refusesRestore) Restored(c *Conn, _ []byte) error {
	for range 1000 {
		if !c.Write(make([]byte, 10_000)) {
			h.refused++
		}
	}
	return errors.New("not wanted")
}

func (h *refusesRestore) Dropped(*Conn, int, int) { h.told++ }

// A parcel is what detach returns of one connection.
type parcel struct{ record, messages []byte }

// detach is DetachAll for one connection.
func detach(c *Conn) (fd int, p parcel, err error) {
	carried, messages := c.loop.DetachAll([]*Conn{c})
	return carried[0].FD, parcel{carried[0].Record, messages}, carried[0].Err
}

// restore is a Restore of one connection.
func restore(l *Loop, fd int, h Handler, state any, o *Options, p parcel) (*Conn, error) {
	r, err := l.NewRestore(p.messages)
	if err != nil {
		return nil, err
	}
	defer r.Done()
	return r.Conn(fd, h, state, o, p.record)
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
