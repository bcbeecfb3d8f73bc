// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/listen"
	"penstock/evloop/evlooptest"
)

// TestReloadBindsAgain: a Unix socket whose file somebody has removed, or put
// another in its place, cannot be reached; a reload opens it again, also when
// the configuration is the same.
func TestReloadBindsAgain(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	cfg := parse(t, fmt.Sprintf("[service.a]\nkind='echo'\nlisten=['%s']\n", path))
	before := evlooptest.Descriptors()
	r := runDaemon(t, cfg)
	conf := r.cfg.Services[0]
	for _, tt := range []struct {
		name  string
		spoil func() error
	}{
		{"removed", func() error { return os.Remove(path) }},
		{"moved away", func() error { return os.Rename(path, path+".old") }},
		{"replaced by a left-over", func() error {
			if err := os.Remove(path); err != nil {
				return err
			}
			s, err := listen.Open(conf, mustAddress(t, path))
			if err == nil {
				closeFD(s.FD)
			}
			return err
		}},
	} {
		if err := tt.spoil(); err != nil {
			t.Fatal(tt.name, err)
		}
		if got, err := ask(path, "x"); err == nil {
			t.Fatalf("%s: still answers %q", tt.name, got)
		}
		var err error
		r.do(func() { err = r.putInForce(cfg) })
		if err != nil {
			t.Fatal(tt.name, err)
		}
		if got, err := ask(path, "x"); got != "x" {
			t.Errorf("%s: after a reload %q, %v", tt.name, got, err)
		}
		r.do(func() {
			if n := len(r.listeners()); n != 1 {
				t.Errorf("%s: %d listeners, want 1", tt.name, n)
			}
		})
	}
	r.stop(t)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
	evlooptest.SameDescriptors(t, before)
}

// TestReloadReplacesADeadListener: a Unix socket that we have bound, and that the
// loop would not take, answers to connect(2) and to nobody else. A reload opens it
// anew, and does not take it for another process's.
func TestReloadReplacesADeadListener(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	cfg := parse(t, fmt.Sprintf("[service.a]\nkind='echo'\nlisten=['%s']\n", path))
	before := evlooptest.Descriptors()
	r := runDaemon(t, cfg)
	var err error
	r.do(func() {
		l := r.listeners()[0]
		fd, dupErr := unix.FcntlInt(uintptr(l.FD), unix.F_DUPFD_CLOEXEC, 0)
		if err = dupErr; err != nil {
			return
		}
		l.ln.Close()
		l.ln, l.FD = nil, fd
		err = r.putInForce(cfg)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ask(path, "x"); got != "x" {
		t.Errorf("after a reload %q, %v", got, err)
	}
	r.stop(t)
	evlooptest.SameDescriptors(t, before)
}

// TestReloadOfSocketKeys: keys of a socket that stays open are compared with
// those of whoever gets it, under another name or of another kind, too.
func TestReloadOfSocketKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	service := func(name, kind, keys string) string {
		return fmt.Sprintf("[service.%s]\nkind='%s'\nlisten=['%s']\n%s\n", name, kind, path, keys)
	}
	first := service("a", "echo", "socket_mode='0666'")
	for _, tt := range []struct {
		name, next string
		want       []string
	}{
		{"the same", first, nil},
		{"stricter", service("a", "echo", "socket_mode='0600'\nbacklog=7"), []string{"backlog", "socket_mode"}},
		{"renamed", service("b", "echo", "socket_mode='0600'"), []string{"socket_mode"}},
		{"of another kind", service("a", "discard", "socket_mode='0600'"), []string{"socket_mode"}},
		{"renamed only", service("b", "echo", "socket_mode='0666'"), nil},
	} {
		var out bytes.Buffer
		d, err := New(parse(t, first), Env{Log: slog.New(slog.NewTextHandler(&out, nil))})
		if err != nil {
			t.Fatal(err)
		}
		d.armAll(d.endpoints["a"])
		if err := d.putInForce(parse(t, tt.next)); err != nil {
			t.Fatal(err)
		}
		d.release()
		var got []string
		for _, m := range regexp.MustCompile(`takes effect at the next start.* key=(\w+)`).FindAllStringSubmatch(out.String(), -1) {
			got = append(got, m[1])
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: told of %v, want %v", tt.name, got, tt.want)
		}
	}
}
