// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
)

// TestCrowd: the clients of the booted tests see a wrong byte, a missing one, a closed
// connection and a refused one, and say nothing of a good service.
func TestCrowd(t *testing.T) {
	tests := []struct {
		name  string
		serve func(c net.Conn, n int64) // the nth connection
		want  string
	}{
		{"good", func(c net.Conn, _ int64) { io.Copy(c, c) }, "clients=2 broken=0 closed=0 "},
		{"doubled byte", func(c net.Conn, _ int64) {
			var b [100]byte
			n, _ := c.Read(b[:])
			c.Write(append(b[:n:n], b[n-1]))
			io.Copy(c, c)
		}, "clients=2 broken=2 closed=0 "},
		{"lost byte", func(c net.Conn, _ int64) {
			c.Read(make([]byte, 1))
			io.Copy(c, c)
		}, "clients=2 broken=2 closed=0 "},
		{"closed", func(c net.Conn, n int64) {
			if n > 1 {
				io.Copy(c, c)
			}
		}, "clients=2 broken=0 closed=1 "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			var conns atomic.Int64
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					go func() {
						defer c.Close()
						tt.serve(c, conns.Add(1))
					}()
				}
			}()
			if got := figuresOf(t, "echo:2:"+l.Addr().String()); !strings.HasPrefix(got, tt.want) {
				t.Errorf("%q, want %q...", got, tt.want)
			}
		})
	}
}

// TestCrowdRefused: a port that is closed is no closed connection.
func TestCrowdRefused(t *testing.T) {
	l, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if got, want := figuresOf(t, "echo:1:"+l.Addr().String()), "clients=1 broken=1 closed=0 "; !strings.HasPrefix(got, want) {
		t.Errorf("%q, want %q...", got, want)
	}
}

// figuresOf returns the first line of figures of a crowd.
func figuresOf(t *testing.T, spec string) string {
	t.Helper()
	c, err := newCrowd(100, []string{spec})
	if err != nil {
		t.Fatal(err)
	}
	in, commands := io.Pipe()
	lines, out := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- c.serve(in, out) }()
	fmt.Fprintln(commands)
	got, err := bufio.NewReader(lines).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	commands.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	return got
}

// TestTalks: what clients of the other kinds hear is compared too.
func TestTalks(t *testing.T) {
	pattern := func(at int) string { // RFC 864, two lines of it
		var b strings.Builder
		for line := at; b.Len() < 1000; line++ {
			for i := range 72 {
				b.WriteByte(byte(' ' + (line+i)%95))
			}
			b.WriteString("\r\n")
		}
		return b.String()
	}
	tests := []struct {
		name, kind, hears string
		good              bool
	}{
		{"pattern", "chargen", pattern(0), true},
		{"pattern from another place", "chargen", pattern(1), false},
		{"no answer of a table", "lookup", "a100.a100.", false},
		{"room", "room", "m7.0 5\nm7.0 6\nm1.0 1\n", true},
		{"room with a line that is missing", "room", "m7.0 5\nm7.0 7\nm1.0 1\n", false},
		{"room with a line that comes twice", "room", "m7.0 5\nm7.0 5\nm1.0 1\n", false},
		{"room that begins in the middle of its own", "room", "m1.0 2\n", false},
		{"handler", "handler", "h1.0 1 one\nh1.0 2 two\n", true},
		{"handler that answers twice", "handler", "h1.0 1 one\nh1.0 1 one\n", false},
		{"handler that has lost one", "handler", "h1.0 2 two\nh1.0 3 one\n", false},
		{"lines", "lines", "line 7\nline 8\n", true},
		{"lines of which one is missing", "lines", "line 7\nline 9\n", false},
		{"lines of which one comes twice", "lines", "line 7\nline 7\n", false},
		{"no payload of a ticker", "ticker", "tock\n+PONG\r\n", false},
		{"room with half a line", "room", "m7.0\nm1.0 1\n", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			here, there := net.Pipe()
			defer here.Close()
			defer there.Close()
			go io.Copy(io.Discard, there)
			go io.WriteString(there, tt.hears)
			talk := talks()[tt.kind](1, 0)
			err := talk.begin(here)
			if err == nil {
				err = talk.finish(here)
			}
			if (err == nil) != tt.good || ended(err) {
				t.Errorf("heard %.40q...: %v", tt.hears, err)
			}
		})
	}
}

// TestTicks: clients of one ticker notice that one of them has heard a tick less, or one
// more, and nothing else.
func TestTicks(t *testing.T) {
	const pong, tick = "+PONG\r\n", "tick\n"
	type step struct {
		client int
		hears  string // "": it leaves
	}
	same := []step{{0, pong}, {0, pong}, {1, pong}, {0, pong}, {1, pong}}
	tests := []struct {
		name  string
		steps []step
		good  bool // the last one; all before are
	}{
		{"both", append(same, step{0, tick + pong}, step{1, tick + pong}), true},
		{"one hears it earlier", append(same, step{0, tick + pong}, step{1, tick + tick + pong}, step{0, tick + pong}), true},
		{"one hears none", append(same, step{0, tick + pong}, step{1, pong}), false},
		{"one hears two", append(same, step{0, tick + pong}, step{1, tick + tick + pong}, step{0, pong}), false},
		{"a newcomer has heard none", append(same, step{0, tick + pong}, step{2, pong}, step{1, tick + pong}, step{2, pong}), true},
		{"a newcomer was there before", append(same, step{2, tick + pong}, step{0, tick + pong}, step{1, tick + pong}, step{2, pong}), true},
		{
			"a newcomer hears one less later",
			append(same, step{0, tick + pong}, step{2, pong}, step{1, tick + pong}, step{2, pong}, step{0, tick + pong}, step{2, pong}),
			false,
		},
		{"others after all have left", append(same, step{0, tick + pong}, step{0, ""}, step{1, ""}, step{2, pong}, step{2, pong}, step{3, pong}), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			makes, clients := talks()["ticker"], map[int]talk{}
			for i, step := range tt.steps {
				client := clients[step.client]
				if client == nil {
					client = makes(step.client, 0)
					clients[step.client] = client
				}
				if step.hears == "" {
					client.(*ticker).end()
					continue
				}
				err := hear(client, step.hears)
				if good := tt.good || i < len(tt.steps)-1; (err == nil) != good {
					t.Fatalf("step %d: client %d hears %q: %v", i, step.client, step.hears, err)
				}
			}
		})
	}
}

// hear has a client ask and hear that.
func hear(c talk, said string) error {
	conn := &script{Reader: strings.NewReader(said)}
	if t, ok := c.(*ticker); ok && t.in != nil {
		t.in.Reset(conn)
	}
	if err := c.begin(conn); err != nil {
		return err
	}
	return c.finish(conn)
}

// A script is a connection on which that is to be heard.
type script struct {
	net.Conn
	io.Reader
}

func (s *script) Read(p []byte) (int, error)  { return s.Reader.Read(p) }
func (s *script) Write(p []byte) (int, error) { return len(p), nil }
