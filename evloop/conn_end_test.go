// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A peer that half-closes gets its whole reply.
func TestLoopHalfClose(t *testing.T) { eachBackend(t, halfClose) }

// halfClose does what nc -N does: ask, shut, read the reply.
func halfClose(r *rig) {
	reply := bytes.Repeat([]byte("reply"), 300_000)
	for _, pair := range []func() (*Conn, *peer){r.tcp, r.unix} {
		c, p := pair()
		r.onEOF = func(c *Conn) {
			c.Write(reply)
			c.CloseAfterFlush(patience, nil)
		}
		p.write("question")
		p.shut()
		r.gets(p, reply)
		r.ends(c, nil)
		if got := string(r.of(c).got); got != "question" {
			r.Errorf("Data saw %q", got)
		}
		if _, err := p.receive(); err != io.EOF {
			r.Errorf("peer: %v after the reply, want EOF", err)
		}
	}
}

// Bytes before a reset are delivered before its error.
func TestLoopDataThenReset(t *testing.T) { eachBackend(t, dataThenReset) }

func dataThenReset(r *rig) {
	for _, paused := range []bool{false, true} {
		c, p := r.tcp()
		if paused {
			c.Pause()
		}
		p.write("last words")
		p.reset()
		arrives(r.T, c.FD(), unix.POLLERR)
		r.turn()
		r.turn()
		if paused {
			if h := r.of(c); h.calls != 0 || h.closed {
				r.Errorf("while paused: %d calls of Data, closed %t", h.calls, h.closed)
			}
			r.do(c.Resume)
		}
		r.ends(c, unix.ECONNRESET)
		if got := string(r.of(c).got); got != "last words" || r.of(c).eof {
			r.Errorf("Data saw %q, EOF %t; want the last words and no EOF", got, r.of(c).eof)
		}
	}
}

// A reset while output is queued is reported after the last bytes.
func TestLoopResetWhileQueued(t *testing.T) { eachBackend(t, resetWhileQueued) }

// resetWhileQueued has the send fail first. What the peer said before is delivered all
// the same.
func resetWhileQueued(r *rig) {
	for _, full := range []bool{false, true} {
		c, p := r.tcp()
		if full {
			c.SetOptions(&Options{Queue: 1})
		}
		r.stick(c)
		p.write("last words")
		p.reset()
		r.until("Closed", func() bool { return r.of(c).closed })
		if h := r.of(c); h.err == nil || string(h.got) != "last words" {
			r.Errorf("full %t: Closed(%v) after %q, want an error after the last words", full, h.err, h.got)
		}
	}
}

// A send that fails takes the error of the socket with it, and then the kernel reports an
// end of input. That is no FIN.
func TestLoopResetIsNoEOF(t *testing.T) { eachBackend(t, resetIsNoEOF) }

func resetIsNoEOF(r *rig) {
	c, p := r.tcp()
	r.turn()
	c.Pause()
	p.write("last words")
	p.reset()
	arrives(r.T, c.FD(), unix.POLLHUP)
	r.do(func() { c.Write([]byte("for nobody")) })
	r.spin("broken output", func() bool { return c.flags&flagBroken != 0 })
	r.do(c.Resume)
	r.ends(c, unix.ECONNRESET)
	if h := r.of(c); h.eof || string(h.got) != "last words" {
		r.Errorf("Data saw %q, EOF %t; want the last words and no EOF", h.got, h.eof)
	}
}

// A reset of a half-closed connection is an error.
func TestLoopResetAfterFIN(t *testing.T) { eachBackend(t, resetAfterFIN) }

func resetAfterFIN(r *rig) {
	c, p := r.tcp()
	p.shut()
	r.until("EOF", func() bool { return r.of(c).eof })
	r.do(func() { c.Write([]byte("unread")) })
	p.reset()
	r.ends(c, unix.EPIPE) // what Linux makes of RST behind FIN (tcp_reset)
	if h := r.of(c); h.calls != 0 {
		r.Errorf("Data came %d times, although nothing was sent", h.calls)
	}
}

// It is no error that a peer closes after its last line.
func TestLoopPeerCloses(t *testing.T) { eachBackend(t, peerCloses) }

func peerCloses(r *rig) {
	for _, pair := range []func() (*Conn, *peer){r.tcp, r.unix} {
		c, p := pair()
		r.onEOF = func(c *Conn) { c.CloseAfterFlush(patience, nil) }
		p.write("bye")
		p.close()
		r.ends(c, nil)
		if h := r.of(c); string(h.got) != "bye" || !h.eof {
			r.Errorf("Data saw %q, EOF %t", h.got, h.eof)
		}
	}
}

// It is an error that a peer closes before it had its reply.
func TestLoopPeerClosesEarly(t *testing.T) { eachBackend(t, peerClosesEarly) }

// A Unix peer that closed hangs up: nothing can be sent. That is an orderly
// end unless something was left to say.
func peerClosesEarly(r *rig) {
	for name, onEOF := range map[string]func(*Conn){
		"": func(*Conn) {},
		"x": func(c *Conn) {
			c.Write([]byte("x"))
			c.CloseAfterFlush(patience, nil)
		},
	} {
		c, p := r.unix()
		r.onEOF = onEOF
		p.close()
		r.until("Closed", func() bool { return r.of(c).closed })
		if err := r.of(c).err; (err != nil) != (name != "") {
			r.Errorf("with %q to send: Closed(%v)", name, err)
		}
	}
}

// Abort drops what is queued and sends RST.
func TestLoopAbortResets(t *testing.T) { eachBackend(t, abortResets) }

func abortResets(r *rig) {
	for _, reason := range []error{nil, errors.New("reason")} {
		c, p := r.tcp()
		p.write("unread")
		r.do(func() {
			c.Write([]byte("dropped"))
			c.Abort(reason)
			if r.of(c).closed {
				r.Error("Closed inside Abort")
			}
		})
		if reason == nil {
			reason = ErrAborted
		}
		r.ends(c, reason)
		arrives(r.T, p.fd, unix.POLLERR)
		if got, err := p.receive(); !errors.Is(err, unix.ECONNRESET) || len(got) > 0 {
			r.Errorf("peer: %q, %v; want ECONNRESET", got, err)
		}
	}
}

// A close with unsent output is a reset.
func TestLoopCloseUnsentResets(t *testing.T) { eachBackend(t, closeUnsentResets) }

// Without the reset the peer would take a cut reply for a whole one.
func closeUnsentResets(r *rig) {
	c, p := r.tcp()
	r.stick(c)
	c.SetOptions(&Options{StallTimeout: time.Millisecond})
	r.ends(c, ErrStalled)
	if _, err := p.receive(); !errors.Is(err, unix.ECONNRESET) {
		r.Errorf("peer: %v, want ECONNRESET", err)
	}
}

// Closed comes once, with the first reason.
func TestLoopFirstReasonCounts(t *testing.T) { eachBackend(t, firstReasonCounts) }

func firstReasonCounts(r *rig) {
	first := errors.New("first")
	c, p := r.tcp()
	r.do(func() {
		c.Abort(first)
		c.Abort(errors.New("second"))
		c.CloseAfterFlush(0, errors.New("third"))
		p.reset()
	})
	r.ends(c, first)
}

// A hung-up connection does not spin while paused.
func TestLoopPausedHangup(t *testing.T) { eachBackend(t, pausedHangup) }

// HUP and ERR cannot be masked: level-triggered, this would be a busy loop.
func pausedHangup(r *rig) {
	for _, end := range []func(*peer){(*peer).close, (*peer).reset, (*peer).shut} {
		c, p := r.tcp()
		c.Pause()
		end(p)
		arrives(r.T, c.FD(), unix.POLLRDHUP)
		r.turn()
		if n := r.turnsAtRest(20 * time.Millisecond); n > 2 {
			r.Errorf("%d turns in 20 ms with nothing to do", n)
		}
		r.do(func() { c.Abort(nil) })
	}
}

// Another holder of the descriptor causes no events.
func TestLoopGhostEvents(t *testing.T) { eachBackend(t, ghostEvents) }

// epoll follows the open file description, which outlives our number when
// somebody else holds it too.
func ghostEvents(r *rig) {
	c, p := r.tcp()
	dup, err := unix.Dup(c.FD())
	if err != nil {
		r.Fatal(err)
	}
	defer unix.Close(dup)
	r.do(func() { c.Abort(nil) })
	r.ends(c, ErrAborted)
	p.write("boo")
	arrives(r.T, dup, unix.POLLIN)
	r.turn()
	if n := r.l.Stats().StaleEvents; n != 0 {
		r.Errorf("%d events for a closed connection", n)
	}
}

// Methods after the end do nothing.
func TestLoopAfterTheEnd(t *testing.T) { eachBackend(t, afterTheEnd) }

func afterTheEnd(r *rig) {
	c, _ := r.tcp()
	id := c.ID()
	if r.l.Conn(id) != c || c.Loop() != r.l {
		r.Error("Conn does not find the connection")
	}
	r.do(func() { c.Abort(nil) })
	r.ends(c, ErrAborted)
	r.do(func() {
		c.Pause()
		c.Resume()
		c.SetOptions(&Options{IdleTimeout: 1, StallTimeout: 1})
		c.CloseAfterFlush(0, nil)
		c.Abort(nil)
		if c.Write([]byte("x")) || c.Send(NewMessage([]byte("x"))) || c.Queued() != 0 || c.FD() != -1 {
			r.Error("a closed connection took a message")
		}
		if r.l.Conn(id) != nil || r.l.Conn(ConnID{}) != nil {
			r.Error("Conn finds a connection that has gone")
		}
		if got := r.l.Schedule(Timer{Conn: id, Handler: &guard{}}); !got.IsZero() {
			r.Errorf("Schedule for a connection that has gone = %v", got)
		}
	})
	for range r.l.Conns() {
		r.Error("Conns yields a connection that has gone")
	}
}

// Close ends everything and lets nothing in.
func TestLoopClose(t *testing.T) { eachBackend(t, loopClose) }

func loopClose(r *rig) {
	a, p := r.tcp()
	b, q := r.tcp()
	r.stick(b)
	ln := tcpListener(r.T, 1)
	if _, err := r.l.Listen(ln, nil); err != nil {
		r.Fatal(err)
	}
	spare, _ := socketPair(r.T, unix.SOCK_STREAM)
	defer unix.Close(spare)
	r.onClosed = func(*Conn, error) {
		if _, err := r.l.Add(spare, r.probe, nil); !errors.Is(err, ErrLoopClosed) {
			r.Errorf("Add inside Close = %v, want ErrLoopClosed", err)
		}
	}
	for range 2 {
		r.l.Close()
	}
	for _, c := range []*Conn{a, b} {
		if err := r.of(c).err; !errors.Is(err, ErrLoopClosed) {
			r.Errorf("Closed(%v), want ErrLoopClosed", err)
		}
	}
	if _, err := p.receive(); err != io.EOF {
		r.Errorf("peer: %v, want EOF", err)
	}
	if _, err := q.receive(); !errors.Is(err, unix.ECONNRESET) {
		r.Errorf("peer with output on its way: %v, want ECONNRESET", err)
	}
	if err := r.l.Run(); !errors.Is(err, ErrLoopClosed) {
		r.Errorf("Run = %v, want ErrLoopClosed", err)
	}
	if _, err := r.l.Listen(tcpListenerClosed(r), nil); !errors.Is(err, ErrLoopClosed) {
		r.Errorf("Listen = %v, want ErrLoopClosed", err)
	}
	if _, err := r.l.Watch(0, unix.EPOLLIN, nil); !errors.Is(err, ErrLoopClosed) {
		r.Errorf("Watch = %v, want ErrLoopClosed", err)
	}
	if r.l.Post(func() {}) {
		r.Error("Post after Close = true")
	}
	r.l.Stop()
}

// tcpListenerClosed returns a listener that is closed with the test.
func tcpListenerClosed(r *rig) int {
	fd := tcpListener(r.T, 1)
	r.Cleanup(func() { unix.Close(fd) })
	return fd
}
