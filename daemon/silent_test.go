// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"penstock/evloop/evlooptest"
)

const (
	silentHandler = "kind = 'handler'\ncommand = ['/bin/cat']"
	silentRoom    = "kind = 'room'\nwelcome = ''\nmessage = '{line}'"
	silentTicker  = "kind = 'ticker'\ninterval = '1h'"
)

// TestPlacesOfTheSilent: clients that connect over TCP and close without a word, as
// health checks do, take the place of none that asks, at none of the limits.
func TestPlacesOfTheSilent(t *testing.T) {
	for _, tt := range []struct {
		name, limits, service string
		clients               int
	}{
		{"handler, by default", "", silentHandler, 70},
		{"handler, max_connections", "", silentHandler + "\nmax_connections = 2", 5},
		{"handler, limits.per_source", "[limits]\nper_source = 2", silentHandler, 5},
		{"room, per_source", "", silentRoom + "\nper_source = 2", 5},
		{"ticker, per_source", "", silentTicker + "\nper_source = 2", 5},
	} {
		for _, backend := range []string{"epoll", "io_uring"} {
			t.Run(tt.name+" "+backend, func(t *testing.T) {
				r, connect := silentRig(t, backend, tt.limits, tt.service)
				defer r.stop(t)
				for range tt.clients {
					connect().Close()
				}
				c := connect()
				defer c.Close()
				if answer, err := sayAndHear(c, "PING\r\n", 1); err != nil {
					t.Errorf("%q, %v; want an answer", answer, err)
				}
				r.do(func() {
					for _, ep := range r.endpoints {
						if len(ep.refused) > 0 {
							t.Errorf("refused: %v", ep.refused)
						}
					}
				})
			})
		}
	}
}

// TestPlaceOfAListener: a client that only listens keeps its place while there are free
// ones, and afterwards if it was sent something since it shut its side. The client that
// came after it and has gone gives up its place instead.
func TestPlaceOfAListener(t *testing.T) {
	for _, backend := range []string{"epoll", "io_uring"} {
		t.Run(backend, func(t *testing.T) {
			r, connect := silentRig(t, backend, "", silentRoom+"\nmax_connections = 3")
			defer r.stop(t)
			listens, speaks := connect(), connect()
			defer listens.Close()
			defer speaks.Close()
			if err := listens.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			r.awaitSilent(1)
			hear := func() {
				t.Helper()
				if _, err := io.WriteString(speaks, "hi\n"); err != nil {
					t.Fatal(err)
				}
				for _, c := range []net.Conn{speaks, listens} {
					if got, err := sayAndHear(c, "", 3); got != "hi\n" {
						t.Fatalf("%q, %v; want what was said", got, err)
					}
				}
			}
			hear()
			connect().Close()
			r.awaitSilent(2)
			asks := connect()
			defer asks.Close()
			if got, err := sayAndHear(asks, "you\n", 4); got != "you\n" {
				t.Fatalf("%q, %v; want a place", got, err)
			}
			tooMany := connect()
			defer tooMany.Close()
			if got, err := sayAndHear(tooMany, "", 1); err == nil {
				t.Errorf("a client for whom there was no place got %q", got)
			}
			for _, c := range []net.Conn{speaks, listens} {
				if got, err := sayAndHear(c, "", 4); got != "you\n" {
					t.Fatalf("%q, %v; want what was said", got, err)
				}
			}
			hear()
		})
	}
}

// silentRig runs a service on TCP, and returns how to connect to it.
func silentRig(t *testing.T, backend, limits, service string) (r *running, connect func() net.Conn) {
	t.Helper()
	ln, fd, family := passed(t, "tcp")
	text := fmt.Sprintf("[loop]\nbackend = '%s'\n%s\n[service.echo]\nlisten = ['%s']\n%s\n", backend, limits, ln.Addr(), service)
	return runActivated(t, text, fd, family, ln.Addr().String()), func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
}

// awaitSilent waits until the daemon has noted n silent clients.
func (r *running) awaitSilent(n int) {
	r.t.Helper()
	r.until(fmt.Sprintf("the silence of %d clients", n), func() bool { return len(r.silent) == n })
}

// sayAndHear says something and returns the next n bytes that come.
func sayAndHear(c net.Conn, say string, n int) (string, error) {
	if say != "" {
		if _, err := io.WriteString(c, say); err != nil {
			return "", err
		}
	}
	_ = c.SetReadDeadline(time.Now().Add(evlooptest.Patience))
	b := make([]byte, n)
	got, err := io.ReadFull(c, b)
	return string(b[:got]), err
}
