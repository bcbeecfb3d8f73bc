// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"penstock/evloop/evlooptest"
)

// TestBoundedCloses: an Accept that waits for room ends with the listener.
func TestBoundedCloses(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := newPlaces(everybody, noLog())
	for range cap(p.room) {
		p.room <- struct{}{}
	}
	b := newBounded(l, p)
	done := make(chan error, 1)
	go func() {
		_, err := b.Accept()
		done <- err
	}()
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept = %v", err)
	}
}

func everybody(netip.Addr) bool { return true }

func noLog() *limited { return &limited{log: slog.New(slog.DiscardHandler)} }

// dialFrom connects from an address of loopback.
func dialFrom(t *testing.T, from string, to net.Addr) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.DialContext(t.Context(), "tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestPlaces: a source has a quarter of the places, and one that may not ask has none, so
// that others get in. A place that is left is free again.
func TestPlaces(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := newPlaces(func(a netip.Addr) bool { return a.String() != "127.0.0.9" }, noLog())
	b := newBounded(l, p)
	accepted := make(chan net.Conn)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := b.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	t.Cleanup(func() {
		_ = b.Close()
		<-done
	})
	var in []net.Conn
	for range mostOfSource {
		dialFrom(t, "127.0.0.1", l.Addr())
		in = append(in, <-accepted)
	}
	closed := func(from string) {
		t.Helper()
		c := dialFrom(t, from, l.Addr())
		if err := c.SetDeadline(time.Now().Add(evlooptest.Patience)); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %d bytes, %v", from, n, err)
		}
	}
	closed("127.0.0.1")
	closed("127.0.0.9")
	dialFrom(t, "127.0.0.2", l.Addr())
	in = append(in, <-accepted)
	_ = in[0].Close()
	dialFrom(t, "127.0.0.1", l.Addr())
	in = append(in, <-accepted)
	for _, c := range in {
		_ = c.Close()
		_ = c.Close() // once more frees nothing
	}
	if n := len(p.from); n != 0 {
		t.Errorf("%d sources are left", n)
	}
	if n := len(p.room); n > 1 { // the Accept under way may have one
		t.Errorf("%d places are taken", n)
	}
}

// TestSourceOf: the addresses of one customer are one source, and those of neighbours are
// not.
func TestSourceOf(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"2001:db8::1", "2001:db8::2", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
		{"fd00::1", "fd00::2", false},
		{"fe80::1%1", "fe80::2%1", false},
	} {
		if same := sourceOf(netip.MustParseAddr(tt.a)) == sourceOf(netip.MustParseAddr(tt.b)); same != tt.same {
			t.Errorf("%s and %s: one source: %v", tt.a, tt.b, same)
		}
	}
}
