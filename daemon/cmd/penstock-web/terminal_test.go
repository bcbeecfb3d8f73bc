// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"penstock/evloop/evlooptest"
)

// echoing plays a service that tells the peer, and sends everything back.
func (r *rig) echoing() <-chan string {
	peers := make(chan string, 1)
	r.daemon.set(func() {
		r.daemon.client = func(peer string, c net.Conn) {
			peers <- peer
			_, _ = io.Copy(c, c)
		}
	})
	return peers
}

func (r *rig) dial(t *testing.T, path string, header http.Header) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), evlooptest.Patience)
	defer cancel()
	ws, resp, err := websocket.Dial(ctx, r.URL+path, &websocket.DialOptions{HTTPHeader: header})
	if err == nil {
		t.Cleanup(func() { _ = ws.CloseNow() })
	}
	return ws, resp, err
}

func (r *rig) open(t *testing.T, path string) *websocket.Conn {
	t.Helper()
	ws, _, err := r.dial(t, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return ws
}

func send(t *testing.T, ws *websocket.Conn, kind websocket.MessageType, text string) {
	t.Helper()
	if err := ws.Write(t.Context(), kind, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, ws *websocket.Conn) (websocket.MessageType, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), evlooptest.Patience)
	defer cancel()
	kind, p, err := ws.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return kind, string(p)
}

// TestTerminalText: messages are lines, as those of websocketd are, and the daemon is told
// the address of the browser.
func TestTerminalText(t *testing.T) {
	r := newRig(t, "services = ['lobby']\n", nil)
	peers := r.echoing()
	ws := r.open(t, "/ws/lobby")
	if p, err := netip.ParseAddrPort(<-peers); err != nil || !p.Addr().IsLoopback() || p.Port() == 0 {
		t.Errorf("the peer is %v, %v", p, err)
	}
	for _, tt := range []struct{ sent, want string }{
		{"hello", "hello"},
		{"with its end\n", "with its end"},
		{"two\r\nlines", "two|lines"},
		{"", ""},
		{"grüße", "grüße"},
	} {
		send(t, ws, websocket.MessageText, tt.sent)
		for want := range strings.SplitSeq(tt.want, "|") {
			if kind, got := receive(t, ws); kind != websocket.MessageText || got != want {
				t.Errorf("%q: %v %q, want %q", tt.sent, kind, got, want)
			}
		}
	}
	send(t, ws, websocket.MessageBinary, "prompt: ") // the beginning of a line comes too
	if _, got := receive(t, ws); got != "prompt: " {
		t.Errorf("%q", got)
	}
	send(t, ws, websocket.MessageBinary, "\xff\n")
	if _, got := receive(t, ws); got != "\ufffd" {
		t.Errorf("what is no text: %q", got)
	}
}

// TestTerminalBinary: bytes stay as they are.
func TestTerminalBinary(t *testing.T) {
	r := newRig(t, "services = ['lobby']\n", nil)
	r.echoing()
	ws := r.open(t, "/ws/lobby?binary")
	for _, text := range []string{"\x00\xff\n", "no end"} {
		send(t, ws, websocket.MessageBinary, text)
		if kind, got := receive(t, ws); kind != websocket.MessageBinary || got != text {
			t.Errorf("%v %q, want %q", kind, got, text)
		}
	}
}

// TestTerminalRefused: a stranger's page, a service that is not offered and a client whom
// the daemon does not let in get no WebSocket, and are told why.
func TestTerminalRefused(t *testing.T) {
	r := newRig(t, "services = ['lobby']\n", nil)
	r.echoing()
	for _, tt := range []struct {
		name, path, origin, refuse string
		status                     int
		text                       string
	}{
		{"a foreign page", "/ws/lobby", "https://evil.example", "", 403, "a page of another host"},
		{"not offered", "/ws/gps", "", "", 404, "not in services"},
		{"not there", "/ws/attic", "", "", 404, "not in services"},
		{"refused by the daemon", "/ws/lobby", "", "per_source", 403, "refused: per_source (too many connections"},
		{"drained", "/ws/lobby", "", "the service takes no new clients now", 403, "refused: the service takes no new clients now"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r.daemon.set(func() { r.daemon.refuse = tt.refuse })
			header := http.Header{}
			if tt.origin != "" {
				header.Set("Origin", tt.origin)
			}
			_, resp, err := r.dial(t, tt.path, header)
			if err == nil || resp == nil || resp.StatusCode != tt.status {
				t.Fatalf("%v, %v", resp, err)
			}
			if text, _ := io.ReadAll(resp.Body); !strings.Contains(string(text), tt.text) {
				t.Errorf("%q", text)
			}
		})
	}
}

// TestBadHandshake: what is no beginning of a WebSocket does not make a client of a service.
func TestBadHandshake(t *testing.T) {
	r := newRig(t, "services = ['lobby']\n", nil)
	good := map[string]string{
		"Connection": "keep-alive, Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
	}
	for _, tt := range []struct{ method, header, value string }{
		{http.MethodHead, "", ""},
		{http.MethodGet, "Connection", "close"},
		{http.MethodGet, "Upgrade", ""},
		{http.MethodGet, "Upgrade", "h2c"},
		{http.MethodGet, "Sec-WebSocket-Version", "8"},
		{http.MethodGet, "Sec-WebSocket-Key", ""},
		{http.MethodGet, "Sec-WebSocket-Key", "c2hvcnQ="},
		{http.MethodGet, "Sec-WebSocket-Key", "?"},
	} {
		resp, _ := r.get(t, "/ws/lobby", func(req *http.Request) {
			req.Method = tt.method
			for name, value := range good {
				req.Header.Set(name, value)
			}
			if tt.header != "" {
				req.Header.Set(tt.header, tt.value)
			}
		})
		if resp.StatusCode != http.StatusUpgradeRequired {
			t.Errorf("%+v: %d", tt, resp.StatusCode)
		}
	}
	if n := r.daemon.calls.Load(); n != 0 {
		t.Errorf("the daemon was called %d times", n)
	}
}

// TestTerminalEnds: the end of the service, of the browser and of the process each end all.
func TestTerminalEnds(t *testing.T) {
	r := newRig(t, "services = ['lobby']\n", nil)
	gone := make(chan struct{}, 3)
	r.daemon.set(func() {
		r.daemon.client = func(_ string, c net.Conn) {
			buf := make([]byte, 100)
			for {
				n, err := c.Read(buf)
				if err != nil || string(buf[:n]) == "bye\n" {
					gone <- struct{}{}
					return
				}
			}
		}
	})
	status := func(ws *websocket.Conn) websocket.StatusCode {
		ctx, cancel := context.WithTimeout(t.Context(), evlooptest.Patience)
		defer cancel()
		_, _, err := ws.Read(ctx)
		return websocket.CloseStatus(err)
	}
	ws := r.open(t, "/ws/lobby")
	send(t, ws, websocket.MessageText, "bye")
	if got := status(ws); got != websocket.StatusNormalClosure {
		t.Errorf("the service ends: %v", got)
	}
	<-gone
	ws = r.open(t, "/ws/lobby")
	_ = ws.CloseNow()
	<-gone
	ws = r.open(t, "/ws/lobby")
	r.end()
	if got := status(ws); got != websocket.StatusGoingAway {
		t.Errorf("the process ends: %v", got)
	}
	r.site.lasting.Wait()
}
