// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// CloseAfterFlush sends everything, then FIN.
func TestLoopFlushThenFIN(t *testing.T) { eachBackend(t, flushThenFIN) }

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

// CloseAfterFlush lingers over unread input.
func TestLoopLingers(t *testing.T) { eachBackend(t, lingers) }

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

// CloseAfterFlush lingers after a full queue too.
func TestLoopLingersAfterFull(t *testing.T) { eachBackend(t, lingersAfterFull) }

// lingersAfterFull closes when the queue was full: Drained is due, but will not come any
// more.
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

// Lingering ends in time.
func TestLoopLingerEnds(t *testing.T) { eachBackend(t, lingerEnds) }

func lingerEnds(r *rig) {
	c, p := r.tcp()
	r.do(func() { c.CloseAfterFlush(10*time.Millisecond, nil) })
	r.until("FIN", func() bool { _, err := p.receive(); return c.state == stateLingering && err == io.EOF })
	r.ends(c, nil)
	if r.l.clock < c.until {
		r.Error("Closed came before the deadline, want the peer to have its time")
	}
}

// CloseAfterFlush gives up at its deadline.
func TestLoopFlushTimeout(t *testing.T) { eachBackend(t, flushTimeout) }

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

// CloseAfterFlush keeps the reason it was given.
func TestLoopFlushReason(t *testing.T) { eachBackend(t, flushReason) }

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
