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
		{"room with half a line", "room", "m7.0\nm1.0 1\n", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			here, there := net.Pipe()
			defer here.Close()
			defer there.Close()
			go io.Copy(io.Discard, there)
			go io.WriteString(there, tt.hears)
			talk := talks[tt.kind](1, 0)
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
