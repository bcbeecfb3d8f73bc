// SPDX-License-Identifier: Apache-2.0

package load

import (
	"bufio"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// behindAt returns a listening socket for the load's own server, and its address.
func behindAt(t *testing.T) (fd int, address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return int(f.Fd()), ln.Addr().String()
}

// relay passes on to an address. Both ends are closed by end, which is told how the backend
// has ended.
func relay(to string, end func(client *net.TCPConn, err error)) func(net.Conn) {
	return func(c net.Conn) {
		b, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		go func() {
			io.Copy(b, c)
			b.(*net.TCPConn).CloseWrite()
		}()
		_, err = io.Copy(c, b)
		b.Close()
		end(c.(*net.TCPConn), err)
	}
}

func closes(c *net.TCPConn, _ error) { c.Close() }

// reset passes a reset on.
func reset(c *net.TCPConn, err error) {
	if err != nil {
		c.SetLinger(0)
	}
	c.Close()
}

func TestRelay(t *testing.T) {
	const window = 100 * time.Millisecond
	tests := []struct {
		name string
		o    Options
		end  func(*net.TCPConn, error)
	}{
		{"echo", Options{Mode: Proxy, Conns: 10, Size: 64}, closes},
		{"bulk", Options{Mode: ProxyBulk, Conns: 3}, closes},
		{"churn", Options{Mode: ProxyChurn, Conns: 5}, closes},
		{"idle", Options{Mode: ProxyIdle, Conns: 10, Size: 64, Server: os.Getpid()}, closes},
		{"reset is passed on", Options{Mode: ProxyReset, Conns: 1}, reset},
		{"reset is an end", Options{Mode: ProxyReset, Conns: 1}, closes},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fd, to := behindAt(t)
			tt.o.Network, tt.o.Pipeline, tt.o.Behind = "tcp", 1, fd
			tt.o.Address = serve(t, tt.o.Network, relay(to, tt.end))
			tt.o.Warmup, tt.o.Window = window/10, window
			r, err := Run(tt.o)
			if err != nil {
				t.Fatal(err)
			}
			if r.Ops == 0 && tt.o.Mode != ProxyIdle || r.Elapsed < window {
				t.Errorf("the window was not measured: %+v", r)
			}
			want := 0
			if tt.o.Mode == ProxyReset && tt.name == "reset is an end" {
				want = int(r.Ops)
			}
			if r.Refused != want {
				t.Errorf("%d of %d connections ended as if all was said, want %d", r.Refused, r.Ops, want)
			}
			if tt.o.Mode == ProxyIdle && r.Files < 2*tt.o.Conns {
				t.Errorf("%d descriptors for %d pairs in this process", r.Files, tt.o.Conns)
			}
		})
	}
}

// TestRelayThatErrs: a relay that changes a byte gets no figure.
func TestRelayThatErrs(t *testing.T) {
	fd, to := behindAt(t)
	o := Options{Mode: Proxy, Network: "tcp", Conns: 2, Size: 64, Pipeline: 1, Window: 10 * time.Second, Behind: fd}
	o.Address = serve(t, o.Network, func(c net.Conn) {
		b, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		defer b.Close()
		go io.Copy(b, c)
		buf := make([]byte, 64)
		for {
			if _, err := io.ReadFull(b, buf); err != nil {
				return
			}
			buf[33]++
			c.Write(buf)
		}
	})
	if _, err := Run(o); err == nil || !strings.Contains(err.Error(), "differs") {
		t.Errorf("Run = %v, want an error about a reply that differs", err)
	}
}

// A fan passes on what its source says to all its clients.
type fan struct {
	mu sync.Mutex
	// guards the following
	clients []net.Conn
	halts   time.Duration // once, after some lines
}

func (f *fan) join(c net.Conn) {
	f.mu.Lock()
	f.clients = append(f.clients, c)
	f.mu.Unlock()
	io.Copy(io.Discard, c)
}

func (f *fan) run(source io.Reader) {
	r := bufio.NewReader(source)
	for n := 0; ; n++ {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return
		}
		f.mu.Lock()
		for _, c := range f.clients {
			c.SetWriteDeadline(time.Now().Add(time.Second))
			c.Write(line)
		}
		f.mu.Unlock()
		if n == 200 {
			time.Sleep(f.halts)
		}
	}
}

func TestBridge(t *testing.T) {
	const halt = 200 * time.Millisecond
	tests := []struct {
		name  string
		o     Options
		halts time.Duration
	}{
		{"rate", Options{Mode: Bridge, Conns: 10, Size: 64, Pipeline: 1}, 0},
		{"burst", Options{Mode: BridgeBurst, Conns: 10, Size: 64, Pipeline: 100}, 0},
		{"idle", Options{Mode: BridgeIdle, Conns: 10, Size: 64, Pipeline: 1, Server: os.Getpid()}, 0},
		{"a halt is silence", Options{Mode: Bridge, Conns: 2, Size: 64, Pipeline: 1}, halt},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(ends[0])
			source := os.NewFile(uintptr(ends[1]), "source")
			defer source.Close()
			f := &fan{halts: tt.halts}
			tt.o.Network, tt.o.Source = "tcp", ends[0]
			tt.o.Address = serve(t, "tcp", f.join)
			go f.run(source)
			tt.o.Warmup, tt.o.Window = 10*time.Millisecond, 500*time.Millisecond
			r, err := Run(tt.o)
			if err != nil {
				t.Fatal(err)
			}
			if tt.o.Mode != BridgeIdle && (r.Ops == 0 || r.P50 == 0) || r.Elapsed < tt.o.Window {
				t.Errorf("the window was not measured: %+v", r)
			}
			if r.Silence < tt.halts {
				t.Errorf("a silence of %v, want %v at least", r.Silence, tt.halts)
			}
		})
	}
}

// TestRate: a device gets its lines by the clock, whoever has read how many.
func TestRate(t *testing.T) {
	f := &fanout{o: Options{Mode: Bridge, Conns: 10}, w: &window{base: time.Now().Add(-time.Second)}, sent: 1}
	if got := f.free(); got < bridgeRate || got > 100*bridgeRate {
		t.Errorf("%d lines are due after a second, want about %d", got, bridgeRate)
	}
	f.sent = 1e9
	if got := f.free(); got != 0 {
		t.Errorf("%d lines are due before their time", got)
	}
}
