// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"penstock/daemon/internal/config"
	"penstock/evloop/evlooptest"
)

func parse(t testing.TB, text string) *config.Config {
	t.Helper()
	cfg, err := config.Parse("test.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func mustAddress(t testing.TB, s string) config.Address {
	t.Helper()
	a, err := config.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// A running daemon whose loop another goroutine drives.
type running struct {
	*Daemon
	t    testing.TB
	done chan error
}

func run(t testing.TB, d *Daemon) *running {
	r := &running{d, t, make(chan error, 1)}
	go func() { r.done <- d.Run() }()
	return r
}

func runDaemon(t testing.TB, cfg *config.Config) *running {
	t.Helper()
	return runLogged(t, cfg, slog.DiscardHandler)
}

func runLogged(t testing.TB, cfg *config.Config, log slog.Handler) *running {
	t.Helper()
	ready := make(chan struct{})
	d, err := New(cfg, Env{Log: slog.New(log), Ready: func() { close(ready) }})
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, d)
	<-ready
	return r
}

// do runs f on the loop and waits for it.
func (r *running) do(f func()) {
	r.t.Helper()
	evlooptest.Do(r.t, r.loop, f)
}

// until lets the loop turn until cond, which is called on it, returns true.
func (r *running) until(what string, cond func() bool) {
	r.t.Helper()
	evlooptest.Until(r.t, r.loop, what, cond)
}

func (r *running) stop(t testing.TB) {
	t.Helper()
	r.loop.Post(func() { r.advance(terminate) })
	if err := <-r.done; err != nil {
		t.Errorf("Run = %v, want nil after a request to stop", err)
	}
}

// ask sends a line and returns what comes back until the server closes.
func ask(path, line string) (string, error) {
	c, err := net.Dial("unix", path)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if _, err := io.WriteString(c, line); err != nil {
		return "", err
	}
	if err := c.(*net.UnixConn).CloseWrite(); err != nil {
		return "", err
	}
	b, err := io.ReadAll(c)
	return string(b), err
}

// TestNewUndoes: when one socket cannot be opened, those that could are
// closed again and their files removed.
func TestNewUndoes(t *testing.T) {
	dir := t.TempDir()
	before := evlooptest.Descriptors()
	cfg := parse(t, fmt.Sprintf("[service.a]\nkind='echo'\nlisten=['%s/a.sock']\n[service.b]\nkind='echo'\nlisten=['%s/b.sock']\n", dir, dir))
	if err := os.WriteFile(filepath.Join(dir, "b.sock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(cfg, Env{Log: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), "service b: listen on "+dir+"/b.sock") {
		t.Errorf("New = %v, want an error that names the service and the address", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "a.sock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a.sock is left behind: %v", err)
	}
	evlooptest.SameDescriptors(t, before)
}
