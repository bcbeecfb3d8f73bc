// SPDX-License-Identifier: Apache-2.0

package service

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/evloop"
)

// TestExecDrain: when the service ends, a program has the time to finish, and no more.
func TestExecDrain(t *testing.T) {
	eachIO(t, func(t *testing.T, keys string) {
		r := serveExec(t, "echo up; cat; echo done", keys)
		c := r.dial()
		c.want("up\n")
		r.do(func() { r.svc.(Drainer).Drain(r.loop.Conn(c.id), nil, patience) })
		if got := c.rest(); got != "done\n" {
			t.Errorf("got %q", got)
		}
		r = serveExec(t, "trap '' TERM; echo up; while :; do sleep 0.01; done", keys)
		c = r.dial()
		c.want("up\n")
		ended := false
		r.do(func() {
			r.svc.(Drainer).Drain(r.loop.Conn(c.id), nil, 20*time.Millisecond)
			r.svc.(Stopper).Stop(func() { ended = true })
		})
		r.wantEnd(ErrUnanswered)
		r.until("the end of the service", func() bool { return ended })
	})
}

// TestExecDrainPassesRest: what a client has said before the service ends still reaches
// the program.
func TestExecDrainPassesRest(t *testing.T) {
	r := serveExec(t, "read x; echo up; wc -c", "queue=4096")
	c := r.dial()
	c.send("\n")
	c.want("up\n")
	left := []byte(strings.Repeat("x", 200_000))
	r.do(func() { r.svc.(Drainer).Drain(r.loop.Conn(c.id), left, patience) })
	if got := c.rest(); got != "200000\n" {
		t.Errorf("the program has got %q", got)
	}
}

// TestExecDrainAfterProgram: what a program has left in its pipe reaches a client that
// is slow, also if the service ends meanwhile.
func TestExecDrainAfterProgram(t *testing.T) {
	r := serveExec(t, "read x; head -c 40000 /dev/zero; echo end", "")
	c := r.dial()
	r.jobs(1)
	var out *evloop.Conn
	r.do(func() {
		out = jobOf(r.loop.Conn(c.id)).out
		out.Pause() // as when the client reads nothing
	})
	c.send("\n")
	r.log.wait(t, "status=exit status 0", 1)
	r.do(func() {
		r.svc.(Drainer).Drain(r.loop.Conn(c.id), nil, patience)
		out.Resume()
	})
	if got := c.rest(); len(got) != 40_004 || !strings.HasSuffix(got, "end\n") {
		t.Errorf("got %d bytes, want 40004", len(got))
	}
	r.wantEnd(nil)
}

// TestExecDrainEnds: the program and its client share the time that the service has for
// its end. One that takes nothing of the output has no more of its own.
func TestExecDrainEnds(t *testing.T) {
	r := serveExec(t, "read x; head -c 40000 /dev/zero", "")
	c := r.dial()
	r.jobs(1)
	r.do(func() {
		conn := r.loop.Conn(c.id)
		if err := unix.SetsockoptInt(conn.FD(), unix.SOL_SOCKET, unix.SO_SNDBUF, 1); err != nil {
			t.Error(err)
		}
		r.svc.(Drainer).Drain(conn, nil, time.Hour)
	})
	r.jobs(0)
	r.do(func() {
		if conn := r.loop.Conn(c.id); conn == nil || conn.Queued() == 0 {
			t.Error("no output waits for the client")
		} else {
			r.execOf().Expired(r.loop, evloop.Timer{Conn: c.id}) // the hour is over
		}
	})
	r.wantEnd(evloop.ErrFlushTimeout)
}
