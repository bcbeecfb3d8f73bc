// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

var closeCases = []conformanceCase{
	{"a peer that half-closes gets its whole reply", halfClose},
	{"bytes before a reset are delivered before its error", dataThenReset},
	{"a reset while output is queued", resetWhileQueued},
	{"a reset of a half-closed connection", resetAfterFIN},
	{"a peer that closed after its last line is no error", peerCloses},
	{"a peer that closed before it had its reply is one", peerClosesEarly},
	{"CloseAfterFlush sends everything, then FIN", flushThenFIN},
	{"CloseAfterFlush lingers over unread input", lingers},
	{"CloseAfterFlush lingers after a full queue too", lingersAfterFull},
	{"lingering ends in time", lingerEnds},
	{"CloseAfterFlush gives up at its deadline", flushTimeout},
	{"CloseAfterFlush keeps the reason it was given", flushReason},
	{"Abort drops what is queued and sends RST", abortResets},
	{"a close with unsent output is a reset", closeUnsentResets},
	{"Closed comes once, with the first reason", firstReasonCounts},
	{"a hung-up connection does not spin while paused", pausedHangup},
	{"another holder of the descriptor causes no events", ghostEvents},
	{"methods after the end do nothing", afterTheEnd},
	{"Close ends everything and lets nothing in", loopClose},
}

// What nc -N does: ask, shut, read the reply.
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

// The send fails first; what the peer said before is delivered all the same.
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

func resetAfterFIN(r *rig) {
	c, p := r.tcp()
	p.shut()
	r.until("EOF", func() bool { return r.of(c).eof })
	r.do(func() { c.Write([]byte("unread")) })
	p.reset()
	r.until("Closed", func() bool { return r.of(c).closed })
}

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

func flushThenFIN(r *rig) {
	c, p := r.tcp()
	want := r.stick(c)
	r.do(func() {
		c.Write([]byte("the end"))
		c.CloseAfterFlush(patience, nil)
		c.CloseAfterFlush(0, errors.New("too late to matter"))
	})
	p.write("not heard any more")
	r.gets(p, append(want, "the end"...))
	r.spin("FIN", func() bool { _, err := p.receive(); return err == io.EOF })
	if h := r.of(c); h.closed || h.calls != 0 {
		r.Errorf("closed %t, %d calls of Data; want a connection that lingers", h.closed, h.calls)
	}
	p.close()
	r.ends(c, nil)
}

// close(2) with unread input makes TCP send RST, which destroys the reply.
func lingers(r *rig) {
	c, p := r.tcp()
	reply := bytes.Repeat([]byte("r"), 10_000)
	r.onData = func(c *Conn, b []byte) int {
		c.Write(reply)
		c.CloseAfterFlush(patience, nil)
		return len(b)
	}
	p.write(strings.Repeat("much more than is read", 10_000))
	r.until("a reply", func() bool { return c.state == stateLingering })
	p.write("and more")
	r.turn()
	r.gets(p, reply)
	if _, err := p.receive(); err != io.EOF {
		r.Errorf("peer: %v after the reply, want EOF", err)
	}
	p.close()
	r.ends(c, nil)
}

// Drained is due when the queue has emptied, and will not come any more.
func lingersAfterFull(r *rig) {
	c, p := r.tcp()
	c.SetOptions(&Options{Queue: 1000})
	reply := make([]byte, 200_000)
	r.onData = func(c *Conn, b []byte) int {
		c.Write(reply)
		c.CloseAfterFlush(patience, nil)
		return 1
	}
	p.write(strings.Repeat("q", 100_000))
	r.gets(p, reply)
	r.until("FIN", func() bool { return c.state == stateLingering })
	p.close()
	r.ends(c, nil)
	if r.l.clock >= c.until {
		r.Error("Closed came by the deadline, want it with the peer's FIN")
	}
	if h := r.of(c); h.drained != 0 || h.calls != 1 {
		r.Errorf("%d calls of Drained, %d of Data after CloseAfterFlush", h.drained, h.calls-1)
	}
}

func lingerEnds(r *rig) {
	c, p := r.tcp()
	r.do(func() { c.CloseAfterFlush(10*time.Millisecond, nil) })
	r.until("FIN", func() bool { _, err := p.receive(); return c.state == stateLingering && err == io.EOF })
	r.ends(c, nil)
	if r.l.clock < c.until {
		r.Error("Closed came before the deadline, want the peer to have its time")
	}
}

func flushTimeout(r *rig) {
	for _, timeout := range []time.Duration{-1, 0, time.Millisecond} {
		c, p := r.tcp()
		r.stick(c)
		r.do(func() { c.CloseAfterFlush(timeout, nil) })
		r.ends(c, ErrFlushTimeout)
		if _, err := p.receive(); !errors.Is(err, unix.ECONNRESET) {
			r.Errorf("timeout %v: peer: %v, want ECONNRESET", timeout, err)
		}
	}
}

func flushReason(r *rig) {
	reason := errors.New("reason")
	c, p := r.tcp()
	r.do(func() { c.CloseAfterFlush(patience, reason) })
	p.close()
	r.ends(c, reason)

	c, _ = r.tcp()
	r.stick(c)
	r.do(func() { c.CloseAfterFlush(0, reason) })
	r.ends(c, reason)
}

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

// Otherwise the peer would take a cut reply for a whole one.
func closeUnsentResets(r *rig) {
	c, p := r.tcp()
	r.stick(c)
	c.SetOptions(&Options{StallTimeout: time.Millisecond})
	r.ends(c, ErrStalled)
	if _, err := p.receive(); !errors.Is(err, unix.ECONNRESET) {
		r.Errorf("peer: %v, want ECONNRESET", err)
	}
}

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

// HUP and ERR cannot be masked: level-triggered, this would be a busy loop.
func pausedHangup(r *rig) {
	for _, end := range []func(*peer){(*peer).close, (*peer).reset, (*peer).shut} {
		c, p := r.tcp()
		c.Pause()
		end(p)
		arrives(r.T, c.FD(), unix.POLLRDHUP)
		r.turn()
		before := r.l.Stats().Turns
		g := &guard{}
		r.l.Schedule(Timer{Deadline: monotonic().Add(20 * time.Millisecond), Handler: g})
		for !g.fired {
			r.l.turn(true)
		}
		if n := r.l.Stats().Turns - before; n > 2 {
			r.Errorf("%d turns in 20 ms with nothing to do", n)
		}
		r.do(func() { c.Abort(nil) })
	}
}

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
		if got := r.l.Schedule(Timer{Conn: id, Handler: &guard{}}); got != 0 {
			r.Errorf("Schedule for a connection that has gone = %d", got)
		}
	})
	for range r.l.Conns() {
		r.Error("Conns yields a connection that has gone")
	}
}

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
		if err := r.l.Close(); err != nil {
			r.Errorf("Close = %v", err)
		}
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
