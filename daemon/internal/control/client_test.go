// SPDX-License-Identifier: Apache-2.0

package control

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestDialErrors: a connect fails with the error of connect(2), and a full backlog does
// not hold the caller for longer than its patience.
func TestDialErrors(t *testing.T) {
	dir := t.TempDir()
	listen := func(name string) (path string) {
		path = filepath.Join(dir, name)
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Close(fd) })
		if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 0)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	full := listen("full")
	first, err := Dial(full, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = first.Close() })
	for _, tt := range []struct {
		path string
		want error
	}{
		{filepath.Join(dir, "none"), fs.ErrNotExist},
		{full, unix.EAGAIN},
	} {
		if _, err := Dial(tt.path, time.Millisecond); !errors.Is(err, tt.want) {
			t.Errorf("Dial(%s): %v, want %v", filepath.Base(tt.path), err, tt.want)
		}
	}
}

// TestCallTimeout: a daemon that says nothing does not hold the caller for longer than its
// patience.
func TestCallTimeout(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(pair[1]) })
	c := NewClient(os.NewFile(uintptr(pair[0]), "daemon"), time.Millisecond)
	defer c.Close()
	if err := c.Call(Interface+".Status", nil, nil); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Call: %v, want a timeout", err)
	}
}
