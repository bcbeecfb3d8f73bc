// SPDX-License-Identifier: Apache-2.0

package service

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"penstock/daemon/internal/report"
	"penstock/evloop"
)

// speaksAndDrains has the client say text, of which the loop reads nothing any more, and
// ends its service at that moment.
func (r *rig) speaksAndDrains(c *testClient, text string, timeout time.Duration) {
	r.t.Helper()
	r.do(func() {
		c.send(text)
		conn := r.loop.Conn(c.id)
		r.svc.(Drainer).Drain(conn, conn.Input(), timeout)
	})
}

// wantUnheard wants n bytes in the log as dropped, or no word for 0.
func (r *rig) wantUnheard(n int) {
	r.t.Helper()
	if n > 0 {
		r.log.wait(r.t, fmt.Sprintf("input dropped conn=1 bytes=%d reason=%v", n, report.LostUnanswered), 1)
		return
	}
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	for _, s := range r.log.records {
		if strings.Contains(s, "input dropped") {
			r.t.Errorf("the log says %q", s)
		}
	}
}

// TestUnheard: what a client has said and its service, which ends, has not read, is in the
// log, and the client counts as cut. That a service does not listen is no loss.
func TestUnheard(t *testing.T) {
	b := newBackend(t, "unix")
	go func() {
		for {
			c, err := b.ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = c.Read(make([]byte, 1)) // its client can say no more
			}()
		}
	}()
	program := func(kind, script, more string) string {
		return fmt.Sprintf("kind='%s'\ncommand=['/bin/sh','-c','''%s''']\n%s", kind, script, more)
	}
	for _, tt := range []struct {
		name, conf string
		want       error
	}{
		{"lookup", "kind='lookup'\nanswers={q='a'}", ErrUnanswered},
		{"echo", "kind='echo'", ErrUnanswered},
		{"ticker", "kind='ticker'\ninterval='1h'", ErrUnanswered},
		{"room", "kind='room'", ErrUnanswered},
		{"handler", program("handler", "cat", ""), ErrUnanswered},
		{"bridge", program("bridge", "cat", "write='any'"), ErrUnanswered},
		{"bridge that nobody may write to", program("bridge", "cat", "write='none'"), nil},
		{"proxy", to("", b.addr()), ErrUnanswered},
		{"exec", program("exec", "echo up; cat", ""), ErrUnanswered},
		{"exec that does not listen", program("exec", "exec <&-; echo up; exec sleep 0.01", ""), nil},
		{"exec with the connection", program("exec", "echo up; cat", "io='socket'"), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := serve(t, tt.conf)
			c := r.dial()
			switch {
			case strings.HasPrefix(tt.name, "exec"):
				c.want("up\n")
				r.until("a deaf program", func() bool {
					j := jobOf(r.loop.Conn(c.id))
					return j.socket || j.hears() || tt.want == nil
				})
			case tt.name == "proxy":
				r.until("a backend", func() bool { return pairOf(r.loop.Conn(c.id)).backend != nil })
			}
			r.speaksAndDrains(c, "late\n", patience)
			c.rest()
			c.conn.Close() // the loop waits for it
			r.wantEnd(tt.want)
			if tt.want == nil {
				r.wantUnheard(0)
			} else {
				r.wantUnheard(5)
			}
		})
	}
}

// TestUnheardInTime: what waits when the time for the end is over counts too, read or not.
func TestUnheardInTime(t *testing.T) {
	b := newBackend(t, "unix")
	r := serve(t, to("", b.addr()))
	c := r.dial()
	b.accept()
	r.until("a backend", func() bool { return pairOf(r.loop.Conn(c.id)).backend != nil })
	r.speaksAndDrains(c, "late\n", 20*time.Millisecond)
	r.wantEnd(evloop.ErrFlushTimeout)
	r.wantUnheard(5)

	r = serveExec(t, "trap '' TERM; echo up; while :; do sleep 0.01; done", "")
	c = r.dial()
	c.want("up\n")
	r.speaksAndDrains(c, "late\n", 20*time.Millisecond)
	r.wantEnd(ErrUnanswered)
	r.wantUnheard(5)
	r.jobs(0)
}

// TestUnheardBeforeItsTurn: so does what was said by a client that had no backend or program
// yet.
func TestUnheardBeforeItsTurn(t *testing.T) {
	r := serve(t, "kind='exec'\ncommand=['/bin/cat']\nmax_children=1")
	r.do(func() { r.execOf().jobs[&job{s: r.execOf()}] = struct{}{} }) // all places are taken
	c := r.dial()
	r.speaksAndDrains(c, "late\n", patience)
	c.rest()
	c.conn.Close()
	r.wantEnd(ErrUnanswered)
	r.wantUnheard(5)
	r.do(func() { clear(r.execOf().jobs) })

	r = serve(t, to("", t.TempDir()+"/nobody"))
	c = r.dial()
	r.speaksAndDrains(c, "late\n", patience)
	c.rest()
	c.conn.Close()
	r.wantEnd(ErrUnanswered)
	r.wantUnheard(5)
}

// TestUnheardOfLastInput: a proxy that ends behind the client's last message, which its backend
// has got, says nothing of what that call of Data was shown.
func TestUnheardOfLastInput(t *testing.T) {
	r, c, s := relayed(t, "queue='4KiB'", "unix", "unix")
	var conn *evloop.Conn
	r.do(func() {
		for of := range r.loop.Conns() {
			if _, client := of.State.(*Session); client {
				conn = of
			}
		}
	})
	portion, sent, waits := make([]byte, 4<<10), 0, false
	for !waits {
		if _, err := c.Write(portion); err != nil {
			t.Fatal(err)
		}
		sent += len(portion)
		r.until("all is read", func() bool {
			waits = len(conn.Input()) > 0 // until the backend reads
			return int(conn.BytesIn()) == sent
		})
	}
	shut(t, s)
	r.until("the end of the backend's output", func() bool { return pairOf(conn).backendShut })
	r.do(func() {
		r.took = func([]byte) { // as the daemon does when a client has had its say
			if len(conn.Input()) == 0 {
				t.Error("the loop keeps nothing")
			}
			r.svc.(Drainer).Drain(conn, nil, patience)
		}
	})
	if got, err := io.ReadAll(s); err != nil || len(got) != sent {
		t.Errorf("backend got %d bytes (%v) of %d", len(got), err, sent)
	}
	c.Close()
	r.wantEnd(nil)
	r.wantUnheard(0)
}
