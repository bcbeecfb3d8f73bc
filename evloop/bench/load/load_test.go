// SPDX-License-Identifier: Apache-2.0

package load

import (
	"bufio"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// serve runs f for each connection to a new listener until the test ends.
func serve(t *testing.T, network string, f func(net.Conn)) (address string) {
	t.Helper()
	address = "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				f(c)
			}()
		}
	}()
	return ln.Addr().String()
}

// echo returns the bytes in pieces of other sizes than they came in.
func echo(c net.Conn) {
	buf := make([]byte, 1000)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		cut := rand.IntN(n + 1)
		c.Write(buf[:cut])
		c.Write(buf[cut:n])
	}
}

func answer(c net.Conn) {
	r := bufio.NewReader(c)
	for {
		if q, err := r.ReadString('?'); err != nil || q != Question {
			return
		}
		io.WriteString(c, Answer)
	}
}

// newRoom returns a server that sends what comes to everybody else.
func newRoom() func(net.Conn) {
	var mu sync.Mutex
	// guards the following
	var members []net.Conn
	return func(c net.Conn) {
		mu.Lock()
		members = append(members, c)
		mu.Unlock()
		buf := make([]byte, 1000)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			mu.Lock()
			for _, m := range slices.DeleteFunc(slices.Clone(members), func(m net.Conn) bool { return m == c }) {
				m.Write(buf[:n])
			}
			mu.Unlock()
		}
	}
}

func TestRun(t *testing.T) {
	const window = 100 * time.Millisecond
	tests := []struct {
		name  string
		o     Options
		serve func(net.Conn)
	}{
		{"echo", Options{Mode: Echo, Network: "tcp", Conns: 10, Size: 64, Pipeline: 1}, echo},
		{"echo, pipelined, larger than a read", Options{Mode: Echo, Network: "tcp", Conns: 3, Size: 4096, Pipeline: 16}, echo},
		{"echo, unix", Options{Mode: Echo, Network: "unix", Conns: 3, Size: 64, Pipeline: 16}, echo},
		{"ask", Options{Mode: Ask, Network: "tcp", Conns: 10, Pipeline: 3}, answer},
		{"churn", Options{Mode: Churn, Network: "tcp", Conns: 5, Pipeline: 1}, answer},
		{"churn, unix", Options{Mode: Churn, Network: "unix", Conns: 5, Pipeline: 1}, answer},
		{"room", Options{Mode: Room, Network: "tcp", Conns: 10, Size: 64, Pipeline: 16}, newRoom()},
		{"idle", Options{Mode: Idle, Network: "tcp", Conns: 10, Size: 64, Pipeline: 1, Server: os.Getpid()}, echo},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.o.Address = serve(t, tt.o.Network, tt.serve)
			tt.o.Warmup, tt.o.Window = window/10, window
			r, err := Run(tt.o)
			if err != nil {
				t.Fatal(err)
			}
			if r.Elapsed < window || r.Load.Switches == 0 && tt.o.Mode == Idle {
				t.Errorf("the window was not measured: %+v", r)
			}
			if tt.o.Mode == Idle {
				if r.Used.Resident == 0 || r.Empty.Resident == 0 {
					t.Errorf("memory was not read: %+v", r)
				}
				return
			}
			if r.Ops == 0 || r.P50 == 0 || r.P50 > r.P99 || r.P99 > r.Max {
				t.Errorf("implausible: %+v", r)
			}
		})
	}
}

// TestRunFindsFaults: a server that answers wrongly, or not at all, must not
// get a figure.
func TestRunFindsFaults(t *testing.T) {
	tests := []struct {
		name  string
		mode  string
		serve func(net.Conn)
		want  string
	}{
		{"closes", Echo, func(c net.Conn) { c.Read(make([]byte, 10)) }, "closed"},
		{"wrong byte", Echo, func(c net.Conn) {
			buf := make([]byte, 64)
			for {
				n, err := c.Read(buf)
				if err != nil {
					return
				}
				buf[0]++
				c.Write(buf[:n])
			}
		}, "differs"},
		{"shifted by one", Echo, func(c net.Conn) { c.Read(make([]byte, 1)); echo(c) }, "differs"},
		{"wrong answer", Ask, func(c net.Conn) { io.WriteString(c, "Blue."); io.Copy(io.Discard, c) }, "differs"},
		{"answer to nobody", Churn, func(c net.Conn) { io.WriteString(c, "Blue."); io.Copy(io.Discard, c) }, "differs"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := Options{Mode: tt.mode, Network: "tcp", Conns: 2, Size: 64, Pipeline: 2, Window: 10 * time.Second}
			o.Address = serve(t, o.Network, tt.serve)
			if _, err := Run(o); err == nil || !strings.Contains(err.Error(), tt.want) {
				// A reset may overtake the close.
				if tt.want != "closed" || err == nil {
					t.Errorf("Run = %v, want an error about %q", err, tt.want)
				}
			}
		})
	}
}

func TestHistogram(t *testing.T) {
	var h histogram
	for i := range 100_000 {
		h.add(time.Duration(i) * time.Microsecond)
	}
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 0.999} {
		want := time.Duration(q * 1e5 * 1e3)
		if got := h.quantile(q); got > want || float64(got) < float64(want)*(1-1.0/32) {
			t.Errorf("quantile(%v) = %v, want %v less at most 1/32", q, got, want)
		}
	}
	if got, want := h.quantile(1), 99_999*time.Microsecond; got != want {
		t.Errorf("quantile(1) = %v, want %v", got, want)
	}
}

// TestBuckets: each bucket begins where the one before it ends.
func TestBuckets(t *testing.T) {
	for b := range len(histogram{}.counts) {
		low := lowest(b)
		if low < 0 {
			break // beyond the longest duration
		}
		if got := bucket(low); got != b {
			t.Fatalf("bucket(lowest(%d)) = %d", b, got)
		}
		if b > 0 && bucket(low-1) != b-1 {
			t.Fatalf("bucket(%v) = %d, want %d", low-1, bucket(low-1), b-1)
		}
	}
}
