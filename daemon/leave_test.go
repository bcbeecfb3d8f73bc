// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"penstock/daemon/internal/service"
)

// TestAsksAtTheEnd: a client that was accepted just before the stop asks more than
// one turn of the loop serves. It gets all answers, and the stop does not wait for
// the end of the time in which it may ask.
func TestAsksAtTheEnd(t *testing.T) {
	const lines = 1000
	for _, tt := range []struct{ conf, ask, answer string }{
		{"kind = 'lookup'\nanswers = { q = 'a' }", "q\n", "a"},
		{"kind = 'ticker'\ninterval = '1h'", "PING\n", "+PONG\r\n"},
	} {
		path := t.TempDir() + "/s"
		r := runDaemon(t, parse(t, fmt.Sprintf("[service.x]\nlisten = ['%s']\n%s\n", path, tt.conf)))
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		r.until("the accept", func() bool { return r.clients() == 1 })
		hasTime := false
		r.do(func() {
			for c := range r.loop.Conns() { // as if it had come this moment, and had an hour
				if s, ok := c.State.(*service.Session); ok {
					s.Since = r.loop.Now().Add(time.Hour)
				}
			}
			r.advance(terminate)
			for _, ep := range r.retired {
				hasTime = hasTime || len(ep.asking) == 1
			}
			if _, err := io.WriteString(c, strings.Repeat(tt.ask, lines)); err != nil {
				t.Error(err)
			}
		})
		got, err := io.ReadAll(c)
		if want := strings.Repeat(tt.answer, lines); string(got) != want || err != nil {
			t.Errorf("%s: got %d bytes, %v; want %d", tt.conf, len(got), err, len(want))
		}
		if !hasTime {
			t.Errorf("%s: the client had no time to ask", tt.conf)
		}
		c.Close()
		if err := <-r.done; err != nil {
			t.Error(err)
		}
		if r.cut != 0 {
			t.Errorf("%s: %d clients count as cut, want none", tt.conf, r.cut)
		}
	}
}

// TestLinesLeftAtTheEnd: of the lines that a service has received, each is served or
// counted as lost when the service ends or is replaced, and the client counts as cut.
func TestLinesLeftAtTheEnd(t *testing.T) {
	for _, tt := range []struct{ name, conf, ask, answer string }{
		{"lookup", "kind = 'lookup'\nanswers = { q = 'a' }", "q\n", "a"},
		{"ticker", "kind = 'ticker'\ninterval = '1h'", "PING\n", "+PONG\r\n"},
		{"room", "kind = 'room'\nwelcome = 'w'\nmessage = '{line}'", "q\n", "q\n"},
		{"twisted", "kind = 'room'\npreset = 'twisted'\nmessage = '{line}'", "q\r\n", "q\n"},
	} {
		for _, end := range []string{"stopped", "removed", "replaced"} {
			t.Run(tt.name+" "+end, func(t *testing.T) {
				linesLeft(t, tt.conf, tt.ask, tt.answer, end)
			})
		}
	}
}

func linesLeft(t *testing.T, conf, ask, answer, end string) {
	const lines = 600 // more than one turn serves
	path := t.TempDir() + "/s"
	head := fmt.Sprintf("[service.x]\nlisten = ['%s']\n", path)
	next := parse(t, head+"kind = 'discard'\n")
	if end == "removed" {
		next = parse(t, fmt.Sprintf("[service.y]\nkind = 'echo'\nlisten = ['%s.y']\n", path))
	}
	var out bytes.Buffer // the loop's until the end
	r := runLogged(t, parse(t, head+conf), slog.NewTextHandler(&out, nil))
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var ep *endpoint
	leave := func(s *service.Session) {
		s.Since = s.Since.Add(-2 * askGrace) // it has been here for long
		ep = endpointOf(s)
		if end == "stopped" {
			r.advance(terminate)
		} else if err := r.putInForce(next); err != nil {
			t.Error(err)
		}
	}
	left := make(chan bool, 1)
	var look func() // in each turn, until some lines were served
	look = func() {
		for c := range r.loop.Conns() {
			if s, ok := c.State.(*service.Session); ok && int(c.BytesIn()) == lines*len(ask) {
				left <- len(c.Input()) > 0
				leave(s)
				return
			}
		}
		r.loop.Post(look)
	}
	r.do(look)
	if _, err := io.WriteString(c, strings.Repeat(ask, lines)); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if !<-left || err != nil {
		t.Fatalf("all lines were served before the end, or reading failed: %v", err)
	}
	c.Close()
	if end == "stopped" {
		if err := <-r.done; err != nil {
			t.Error(err)
		}
	} else {
		r.until("the end of the client", func() bool { return r.clients() == 0 })
		r.stop(t)
	}
	served, lost := strings.Count(string(got), answer), int(ep.lost["unanswered"])
	if served == 0 || lost == 0 || served+lost != lines {
		t.Errorf("of %d lines %d were served and %d counted as lost", lines, served, lost)
	}
	if want := map[bool]int{true: 1}[end == "stopped"]; r.cut != want {
		t.Errorf("%d clients count as cut, want %d", r.cut, want)
	}
	if want := `msg="connection cut" service=x`; !strings.Contains(out.String(), want) || !strings.Contains(out.String(), "reason=unanswered") {
		t.Errorf("not logged as cut with its reason:\n%s", out.String())
	}
}
