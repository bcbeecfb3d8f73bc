// SPDX-License-Identifier: Apache-2.0

package service

import (
	"strings"
	"testing"

	"penstock/evloop"
)

func TestTickerSendsToAll(t *testing.T) {
	r := serve(t, `kind="ticker"`+"\ninterval=\"10ms\"")
	a, b := r.dial(), r.dial()
	for range 3 {
		a.want("ping\n")
		b.want("ping\n")
	}
}

// The tutorial's payload has no delimiter.
func TestTickerTutorial(t *testing.T) {
	c := serve(t, `kind="ticker"`+"\npayload=\"ping\"\ninterval=\"10ms\"").dial()
	c.want("pingping")
}

func TestTickerCommands(t *testing.T) {
	long := strings.Repeat("x", 10000)
	tests := []struct{ name, in, want string }{
		{"LF", "PING\n", "+PONG\r\n"},
		{"CRLF and case", "ping\r\nPiNg\r\n", "+PONG\r\n+PONG\r\n"},
		{"blanks", " PING \r\n", "+PONG\r\n"},
		{"as a RESP array", "*1\r\n$4\r\nPING\r\n", "+PONG\r\n"},
		{"other lines are ignored", "PINGS\nPONG\n\nGET x\nPING x\nPING\n", "+PONG\r\n"},
		{"a long line is no command", long + "PING\nPING\n", "+PONG\r\n"},
		{"a long line is no command at its end", long + "\nPING\n", "+PONG\r\n"},
		{"redis-benchmark", "*3\r\n$6\r\nCONFIG\r\n$3\r\nGET\r\n$4\r\nsave\r\nPING\r\n", "-ERR unknown command\r\n+PONG\r\n"},
		{"inline CONFIG", "config get save\r\nCONFIGURE\r\n", "-ERR unknown command\r\n"},
		{"no line end", "PING\nPING", "+PONG\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := serve(t, `kind="ticker"`+"\ninterval=\"1h\"").dial()
			c.send(tt.in)
			c.shut()
			if got := c.rest(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// Deadlines are a series from the first one on, whatever a turn takes; those
// that were missed are left out.
func TestNextTick(t *testing.T) {
	tests := []struct{ served, now, want evloop.Time }{
		{100, 100, 110},
		{100, 103, 110},
		{100, 109, 110},
		{100, 110, 120},
		{100, 1234, 1240},
	}
	for _, tt := range tests {
		if got := nextTick(tt.served, tt.now, 10); got != tt.want {
			t.Errorf("served %d at %d: next %d, want %d", tt.served, tt.now, got, tt.want)
		}
	}
}

// Without a client there is no timer, with several there is one.
func TestTickerTimers(t *testing.T) {
	r := serve(t, `kind="ticker"`+"\ninterval=\"1h\"")
	timers := func(want int) {
		t.Helper()
		r.do(func() {
			if n := r.loop.Stats().Timers; n != want {
				t.Errorf("%d timers, want %d", n, want)
			}
		})
	}
	timers(0)
	a, b, c := r.dial(), r.dial(), r.dial()
	timers(1)
	for i, cl := range []*testClient{b, a, c} {
		cl.conn.Close()
		r.wantEnd(nil)
		timers(min(1, 2-i))
	}
}

func TestTickerLogsInput(t *testing.T) {
	r := serve(t, `kind="ticker"`+"\ninterval=\"1h\"\nlog_input=true")
	c := r.dial()
	c.send("pong\x1b[2J\xff" + strings.Repeat("x", 1000) + "\n")
	want := `input received conn=1 bytes=1010 text=pong\x1b[2J\xff` + strings.Repeat("x", 55) + "..."
	if got := r.log.wait(t, "input received", 1); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for range 60 { // one by one: the answer says that it was read
		c.send("PING\n")
		c.want("+PONG\r\n")
	}
	r.do(r.records.Flush) // without it the limiter would say so at the end of its window
	r.log.wait(t, "messages suppressed service=x event=input received suppressed=11", 1)
}

// A client that does not read loses the oldest payloads and stays.
func TestTickerDropsOldest(t *testing.T) {
	r := serve(t, "kind=\"ticker\"\ninterval=\"10ms\"\nqueue=4096\npayload=\""+strings.Repeat("p", 4000)+"\"")
	stuck := r.dial()
	r.until("a loss", func() bool { return r.dropped.Load() >= 3 })
	stuck.want(strings.Repeat("p", 8000))
}

func BenchmarkTickerCommand(b *testing.B) {
	in := []byte("PING\r")
	b.ReportAllocs()
	for b.Loop() {
		var w command
		if w.add(in); !w.is("PING") {
			b.Fatal("not recognised")
		}
	}
}
