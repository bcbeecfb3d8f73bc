// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"penstock/daemon/internal/view"
)

// TestGate: a stranger's page, name, network or method gets nothing, whatever it asks for.
func TestGate(t *testing.T) {
	r := newRig(t, "hosts = ['board.local']\nallow = ['192.0.2.0/24']\n", nil)
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for _, tt := range []struct {
		name   string
		change func(*http.Request)
		want   int
	}{
		{"plain", nil, http.StatusOK},
		{"HEAD", func(r *http.Request) { r.Method = http.MethodHead }, http.StatusOK},
		{"HEAD of what does not end", func(r *http.Request) { r.Method, r.URL.Path = http.MethodHead, "/events" }, http.StatusOK},
		{"POST", func(r *http.Request) { r.Method = http.MethodPost }, http.StatusMethodNotAllowed},
		{"DELETE", func(r *http.Request) { r.Method = http.MethodDelete }, http.StatusMethodNotAllowed},
		{"OPTIONS", func(r *http.Request) { r.Method = http.MethodOptions }, http.StatusMethodNotAllowed},
		{"our name", func(r *http.Request) { r.Host = "Board.local:8377" }, http.StatusOK},
		{"our name, with a dot", func(r *http.Request) { r.Host = "board.local." }, http.StatusOK},
		{"localhost", func(r *http.Request) { r.Host = "localhost:8377" }, http.StatusOK},
		{"an address", func(r *http.Request) { r.Host = "192.0.2.1:8377" }, http.StatusOK},
		{"an address of IPv6", func(r *http.Request) { r.Host = "[2001:db8::1]:8377" }, http.StatusOK},
		{"a name rebound to us", func(r *http.Request) { r.Host = "evil.example:8377" }, http.StatusMisdirectedRequest},
		{"a name that begins like ours", func(r *http.Request) { r.Host = "board.local.evil.example" }, http.StatusMisdirectedRequest},
		{"no name", func(r *http.Request) { r.Host = "" }, http.StatusMisdirectedRequest},
		{"our origin", func(r *http.Request) { r.Host = "board.local"; r.Header.Set("Origin", "https://board.local") }, http.StatusOK},
		{"a foreign origin", header("Origin", "https://evil.example"), http.StatusForbidden},
		{"another port", func(r *http.Request) { r.Host = "board.local"; r.Header.Set("Origin", "http://board.local:81") }, http.StatusForbidden},
		{"no page in particular", header("Origin", "null"), http.StatusForbidden},
		{"an empty origin", header("Origin", ""), http.StatusForbidden},
		{"a listed network", header("Test-Peer", "192.0.2.9:1"), http.StatusOK},
		{"another network", header("Test-Peer", "198.51.100.9:1"), http.StatusForbidden},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := httptest.NewRequest(http.MethodGet, "http://127.0.0.1/healthz", nil)
			if tt.change != nil {
				tt.change(req)
			}
			peer := view.Peer{Addr: netip.MustParseAddrPort("127.0.0.1:4000")}
			if p := req.Header.Get("Test-Peer"); p != "" {
				peer.Addr = netip.MustParseAddrPort(p)
			}
			w := httptest.NewRecorder()
			r.server.http.Handler.ServeHTTP(w, req.WithContext(contextOf(req, peer)))
			if w.Code != tt.want {
				t.Errorf("%d %q, want %d", w.Code, w.Body, tt.want)
			}
			if !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'none'") {
				t.Error("an answer without a policy")
			}
		})
	}
}

// TestPassword: who has the password may ask, and nobody else.
func TestPassword(t *testing.T) {
	line, err := makeHash("sesame", 10)
	if err != nil {
		t.Fatal(err)
	}
	pass, err := parsePassword(line + "\n")
	if err != nil {
		t.Fatal(err)
	}
	pass.pause = 0
	r := newRig(t, "", pass)
	for _, tt := range []struct {
		secret string
		want   int
	}{{"", 401}, {"Sesame", 401}, {"sesame", 200}, {"sesame", 200}, {"sesame ", 401}, {"sesame", 200}} {
		resp, _ := r.get(t, "/healthz", func(r *http.Request) {
			if tt.secret != "" {
				r.SetBasicAuth("anybody", tt.secret)
			}
		})
		if resp.StatusCode != tt.want {
			t.Errorf("%q: %d, want %d", tt.secret, resp.StatusCode, tt.want)
		}
		if asks := resp.Header.Get("WWW-Authenticate") != ""; asks != (tt.want == 401) {
			t.Errorf("%q: asked for a password: %v", tt.secret, asks)
		}
	}
}

// TestPasswordTurn: a wrong password holds up the next one that is not known, and nobody
// who has the right one and was let in before, by whatever name.
func TestPasswordTurn(t *testing.T) {
	line, err := makeHash("sesame", 10)
	if err != nil {
		t.Fatal(err)
	}
	pass, err := parsePassword(line)
	if err != nil {
		t.Fatal(err)
	}
	pass.pause = time.Hour
	r := newRig(t, "", pass)
	ask := func(ctx context.Context, user, secret string) (int, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth(user, secret)
		resp, err := r.Client().Do(req)
		if err != nil {
			return 0, err
		}
		return resp.StatusCode, resp.Body.Close()
	}
	for _, tt := range []struct {
		user, secret string
		want         int
	}{{"a", "sesame", 200}, {"a", "wrong", 401}, {"a", "sesame", 200}, {"b", "sesame", 200}} {
		if got, err := ask(t.Context(), tt.user, tt.secret); got != tt.want {
			t.Errorf("%s, %s: %d, %v; want %d", tt.user, tt.secret, got, err, tt.want)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got, err := ask(ctx, "a", "wrong again"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second guess has not waited: %d, %v", got, err)
	}
}

// TestPasswordFile: what hash prints is read, and nothing else is.
func TestPasswordFile(t *testing.T) {
	var out, errs strings.Builder
	p := process{stdin: strings.NewReader("sesame\nmore"), stdout: &out, stderr: &errs}
	if status := p.start([]string{"hash"}); status != exitOK || strings.Contains(out.String(), "sesame") {
		t.Fatalf("hash: %d, %s%s", status, out.String(), errs.String())
	}
	if _, err := parsePassword(out.String()); err != nil {
		t.Errorf("what hash has printed: %v", err)
	}
	p.stdin = strings.NewReader("\n")
	if status := p.start([]string{"hash"}); status != exitFailed {
		t.Errorf("hash of nothing: %d", status)
	}
	for _, bad := range []string{"", "sesame", "pbkdf2-sha256$0$AA$AA", "pbkdf2-sha256$10$AA$AA", "pbkdf2-sha256$10$?$" + strings.Repeat("A", 43), "md5$10$AA$" + strings.Repeat("A", 43)} {
		if _, err := parsePassword(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
