// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"errors"
	"io"
	"testing"

	"golang.org/x/sys/unix"
)

// A lent connection is another's: its bytes reach no handler and wake no loop, and what
// the other has written reaches the peer. Its end is orderly also with input unread.
func TestLoopLend(t *testing.T) { eachBackend(t, lend) }

func lend(r *rig) {
	for _, pair := range []func(*testing.T) (int, *peer){tcpPair, streamPair} {
		c, p := r.lent(pair)
		p.write("for the other")
		r.turn()
		r.turn()
		buf := make([]byte, 100)
		arrives(r.T, c.FD(), unix.POLLIN)
		if n, err := unix.Read(c.FD(), buf); string(buf[:max(n, 0)]) != "for the other" {
			r.Errorf("the other has read %q, %v", buf[:max(n, 0)], err)
		}
		before := r.l.Stats()
		p.write("and this is not read")
		arrives(r.T, c.FD(), unix.POLLIN)
		r.turn()
		if s := r.l.Stats(); s.StaleEvents != before.StaleEvents || r.of(c).calls > 0 {
			r.Errorf("the loop was told: %d stale events, %d calls of Data", s.StaleEvents-before.StaleEvents, r.of(c).calls)
		}
		if _, err := unix.Write(c.FD(), []byte("an answer")); err != nil {
			r.Fatal(err)
		}
		r.do(func() {
			c.Resume()
			if c.Write([]byte("of the loop")) {
				r.Error("the loop writes to a lent connection")
			}
			if out, _ := r.l.DetachAll([]*Conn{c}); !errors.Is(out[0].Err, ErrBusy) {
				r.Errorf("DetachAll = %v, want ErrBusy", out[0].Err)
			}
			c.CloseAfterFlush(patience, nil)
		})
		r.gets(p, []byte("an answer"))
		r.spin("FIN", func() bool { _, err := p.receive(); return err == io.EOF })
		p.close()
		r.ends(c, nil)
		if h := r.of(c); h.calls > 0 || h.eof {
			r.Errorf("%d calls of Data, EOF %v, want none", h.calls, h.eof)
		}
	}
}

// Abort ends a lent connection, too, and so does the end of the loop.
func TestLoopLendAbort(t *testing.T) { eachBackend(t, lendAbort) }

func lendAbort(r *rig) {
	c, p := r.lent(tcpPair)
	r.do(func() { c.Abort(nil) })
	r.ends(c, ErrAborted)
	r.spin("RST", func() bool { _, err := p.receive(); return err == unix.ECONNRESET })
	r.lent(tcpPair) // ended by the rig
}

// A lent connection stays lent when nearly all others leave together.
func TestLendAmongManyThatLeave(t *testing.T) {
	r := newEpollRig(t)
	c, p := r.lent(tcpPair)
	staying := r.registered()
	leaving := make([]*Conn, fewToRenew)
	for i := range leaving {
		leaving[i], _ = r.unix()
	}
	r.l.enter()
	carried, _ := r.l.DetachAll(leaving)
	r.l.leave()
	for _, k := range carried {
		unix.Close(k.FD)
	}
	if got := r.registered(); got != staying {
		r.Errorf("%d descriptors in epoll, want %d", got, staying)
	}
	r.do(func() { c.CloseAfterFlush(patience, nil) })
	r.spin("FIN", func() bool { _, err := p.receive(); return err == io.EOF })
	p.close()
	r.ends(c, nil)
}

// What is no socket cannot be lent, and is served.
func TestLoopLendPipe(t *testing.T) { eachBackend(t, lendPipe) }

func lendPipe(r *rig) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		r.Fatal(err)
	}
	p := newPeer(r.T, ends[1])
	var err error
	r.onOpen = func(c *Conn) { err = c.Lend() }
	c := r.add(ends[0])
	if !errors.Is(err, ErrBusy) {
		r.Errorf("Lend = %v, want ErrBusy", err)
	}
	p.write("x")
	r.until("a byte", func() bool { return string(r.of(c).got) == "x" })
}

// lent returns a connection that was lent in Open, and its peer.
func (r *rig) lent(pair func(*testing.T) (int, *peer)) (*Conn, *peer) {
	r.Helper()
	r.onOpen = func(c *Conn) {
		if err := c.Lend(); err != nil {
			r.Fatal(err)
		}
	}
	defer func() { r.onOpen = nil }()
	fd, p := pair(r.T)
	return r.add(fd), p
}

func streamPair(t *testing.T) (int, *peer) { return socketPair(t, unix.SOCK_STREAM) }
