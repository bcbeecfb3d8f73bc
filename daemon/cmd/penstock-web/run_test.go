// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/systemd"
)

// overUnix asks at a Unix socket.
func overUnix(t *testing.T, path, url string) (*http.Response, error) {
	t.Helper()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return tr.RoundTrip(req)
}

// given returns a socket as the service manager passes it, and its path.
func given(t *testing.T) (systemd.Socket, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "web.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	l.SetUnlinkOnClose(false)
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0) // inherit owns it
	if err != nil {
		t.Fatal(err)
	}
	return systemd.Socket{FD: fd, Addr: path}, path
}

// TestRun: a process that was given a socket serves on it, and ends when nobody asks.
func TestRun(t *testing.T) {
	daemon := play(t)
	cfg, err := config.Parse("t.toml", []byte(lobbyFile))
	if err != nil {
		t.Fatal(err)
	}
	socket, path := given(t)
	listeners, err := inherit([]systemd.Socket{socket}, newPlaces(everybody, noLog()))
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(cfg, nil, at(daemon.path), noLog(), leaveAfter)
	done := make(chan error, 1)
	go func() { done <- s.run(t.Context(), listeners) }()
	resp, err := overUnix(t, path, "http://localhost/healthz")
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v, %v", resp, err)
	}
	_ = resp.Body.Close()
	s.site.idle.mu.Lock()
	s.site.idle.conns = map[net.Conn]bool{}
	s.site.idle.mu.Unlock()
	s.site.idle.end()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error("the service manager's file was removed")
	}
}

// TestExcuse: a process that a request has started with a mistake in the file tells it,
// and ends although somebody asks.
func TestExcuse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.toml")
	if err := os.WriteFile(file, []byte(lobbyFile+"password_file = 'missing'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, mistake := load(file)
	socket, path := given(t)
	listeners, err := inherit([]systemd.Socket{socket}, newPlaces(everybody, noLog()))
	if err != nil {
		t.Fatal(err)
	}
	s := newExcuse(mistake, noLog(), leaveAfter)
	done := make(chan error, 1)
	go func() { done <- s.run(t.Context(), listeners) }()
	for url, told := range map[string]bool{"http://localhost/": true, "http://localhost/metrics": true, "http://evil.example/": false} {
		resp, err := overUnix(t, path, url)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusServiceUnavailable || strings.Contains(string(text), "password_file") != told {
			t.Errorf("%s: %d %q, %v", url, resp.StatusCode, text, err)
		}
	}
	s.site.idle.end() // the timer
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestUnreadablePassword: what stands for a file that the service manager cannot read is
// a mistake, and no password.
func TestUnreadablePassword(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, credential), []byte(config.NoPassword), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", folder)
	if _, err := readPassword("/etc/secret"); err == nil || !strings.Contains(err.Error(), "/etc/secret: the service manager could not read it") {
		t.Error(err)
	}
}

// TestCommandLine: what is wrong is told, with the status of penstock(8).
func TestCommandLine(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	none := file("none.toml", strings.TrimSuffix(lobbyFile, "[web]\n"))
	locked := file("locked.toml", lobbyFile+"password_file = 'secret'\n")
	for _, tt := range []struct {
		args   []string
		status int
	}{
		{[]string{"version"}, exitOK},
		{[]string{"--help"}, exitOK},
		{[]string{"-x"}, exitUsage},
		{[]string{"run", "more"}, exitUsage},
		{[]string{"-c", none}, exitConfig},
		{[]string{"-c", locked}, exitConfig},
		{[]string{"-c", filepath.Join(dir, "missing.toml")}, exitConfig},
	} {
		var out, errs strings.Builder
		p := process{stdin: strings.NewReader(""), stdout: &out, stderr: &errs}
		if got := p.start(tt.args); got != tt.status {
			t.Errorf("%v: %d, want %d\n%s%s", tt.args, got, tt.status, out.String(), errs.String())
		}
	}
}
