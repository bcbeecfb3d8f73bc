// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock/daemon"
	"penstock/daemon/internal/kept"
)

func newTestLast(t *testing.T) *lastGood {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("STATE_DIRECTORY", dir+":/nowhere")
	l := newLastGood(daemon.Env{Managed: true, Log: slog.New(slog.DiscardHandler)}, "main.toml")
	if l == nil || l.path != filepath.Join(dir, lastFile) {
		t.Fatalf("newLastGood() = %+v", l)
	}
	return l
}

// TestLastGood: of many reloads in a row the last is kept in the end; one that
// was refused is not.
func TestLastGood(t *testing.T) {
	l := newTestLast(t)
	for i := range 50 {
		read := l.reading()
		read("main.toml", fmt.Sprint("# ", i), false)
		l.keep()
	}
	l.reading()("main.toml", "# refused", false)
	l.wait(time.Minute)
	l.wait(time.Minute) // there is nothing to wait for
	files, _, err := kept.Read(l.path, lastLimit)
	if err != nil || len(files) != 1 || files[0].Text != "# 49" {
		t.Errorf("kept: %q, %v, want the last", files, err)
	}
}

// TestLastGoodIsBounded: a table that does not fit is left out, and one after it
// that fits is not. With a drop-in that does not fit nothing is written: the
// rest would be another configuration.
func TestLastGoodIsBounded(t *testing.T) {
	l := newTestLast(t)
	read := l.reading()
	read("main.toml", "# small", false)
	read("large", strings.Repeat("x", lastLimit), true)
	read("fits", strings.Repeat("x", lastLimit/2), true)
	read("too much", strings.Repeat("x", lastLimit/2), true)
	l.keep()
	l.wait(time.Minute)
	read = l.reading()
	read("main.toml", "# small", false)
	read("conf.d/10.toml", strings.Repeat("#", lastLimit), false)
	read("conf.d/20.toml", "# small", false)
	l.keep()
	l.wait(time.Minute)
	files, _, err := kept.Read(l.path, lastLimit)
	if err != nil || len(files) != 2 || files[1].Name != "fits" {
		t.Errorf("kept %d files, %v, want the first and the one that fits", len(files), err)
	}
}

// TestLastGoodOfAnother: what was kept for another main file is not served.
func TestLastGoodOfAnother(t *testing.T) {
	l := newTestLast(t)
	l.reading()("main.toml", "[service.a]\nkind = 'echo'\nlisten = ['/run/a.sock']\n", false)
	l.keep()
	l.wait(time.Minute)
	refused := errors.New("refused")
	if cfg, r := l.restore(refused); cfg == nil || len(cfg.Services) != 1 || r.Refused != refused {
		t.Errorf("restore() = %+v, %+v, want the service", cfg, r)
	}
	l.source = "other.toml"
	if cfg, r := l.restore(refused); cfg != nil {
		t.Errorf("restore() = %+v, %+v, want nothing", cfg, r)
	}
}

// TestLastGoodNobody: without a unit, without its folder and for the built-in
// example nothing is kept and nothing restored.
func TestLastGoodNobody(t *testing.T) {
	t.Setenv("STATE_DIRECTORY", t.TempDir())
	if newLastGood(daemon.Env{}, "main.toml") != nil || newLastGood(daemon.Env{Managed: true}, "") != nil {
		t.Error("something is kept by hand, or of the example")
	}
	t.Setenv("STATE_DIRECTORY", "")
	l := newLastGood(daemon.Env{Managed: true}, "main.toml")
	if l != nil || l.reading() != nil {
		t.Error("something is kept without a folder")
	}
	l.keep()
	l.wait(time.Minute)
	if cfg, _ := l.restore(errors.New("refused")); cfg != nil {
		t.Error("something was restored")
	}
	if _, err := os.Stat(lastFile); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s in the working folder: %v", lastFile, err)
	}
}
