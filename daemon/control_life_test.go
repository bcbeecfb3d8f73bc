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

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/control"
	"penstock/evloop/evlooptest"
	"penstock/systemd"
)

// How a control socket comes, from whom, and how it ends.

// TestControlEnd: a client that has closed its side gets its reply; at the end of the
// process its file is gone, and nothing is left open.
func TestControlEnd(t *testing.T) {
	before := evlooptest.Descriptors()
	r := runControlled(t, twoServices)
	c, err := net.Dial("unix", r.path)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, `{"method":"penstock.Control.Status"}`+"\x00"+`{"method":"penstock.Control.Status"}`+"\x00")
	_ = c.(*net.UnixConn).CloseWrite()
	b, err := io.ReadAll(c)
	if err != nil || strings.Count(string(b), "\x00") != 2 {
		t.Errorf("%q, %v, want two replies", b, err)
	}
	_ = c.Close()
	waits := r.dial()
	if err := waits.Call(control.Interface+".Status", nil, nil); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(r.path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info, err)
	}
	r.stop(t)
	if err := waits.Call(control.Interface+".Status", nil, nil); err == nil {
		t.Error("there was an answer after the end")
	}
	_ = waits.Close()
	if _, err := os.Lstat(r.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is left: %v", err)
	}
	evlooptest.SameDescriptors(t, before)
}

// TestControlStopping: a call that is under way when the process ends gets an error.
func TestControlStopping(t *testing.T) {
	r := runControlled(t, twoServices)
	c := r.dial()
	done := make(chan error, 1)
	r.do(func() { // one turn accepts, reads and answers, so all happens before that
		go func() { done <- c.Call(control.Interface+".Status", nil, nil) }()
	})
	r.until("a call waits", func() bool {
		for c := range r.loop.Conns() {
			if a, ok := c.State.(*asker); ok && a.step != nil {
				r.advance(terminate)
				return true
			}
		}
		select {
		case err := <-done: // it was answered already: once more
			if err != nil {
				t.Error(err)
			}
			go func() { done <- c.Call(control.Interface+".Status", nil, nil) }()
		default:
		}
		return false
	})
	if err := <-done; err == nil || err.Error() != control.ErrStopping.Error() {
		t.Errorf("the call ended with %v", err)
	}
	<-r.done
}

// TestControlSecond: a second daemon of a user runs without a control socket, and leaves
// that of the first alone.
func TestControlSecond(t *testing.T) {
	r := runControlled(t, twoServices)
	defer r.stop(t)
	dir := t.TempDir()
	d, err := New(parse(t, fmt.Sprintf("[service.a]\nkind='echo'\nlisten=['%s/a.sock']\n", dir)), Env{Log: slog.New(slog.DiscardHandler), Control: r.path})
	if err != nil || d.control != nil {
		t.Fatalf("New = %v, %v", d, err)
	}
	d.release()
	if err := r.dial().Call(control.Interface+".Status", nil, nil); err != nil {
		t.Error(err)
	}
}

// TestControlInherited: the service manager's socket is taken by its name, and its file is
// not removed.
func TestControlInherited(t *testing.T) {
	dir := t.TempDir()
	var sockets []systemd.Socket
	for _, name := range []string{"a", ControlName} {
		ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, name)})
		if err != nil {
			t.Fatal(err)
		}
		ln.SetUnlinkOnClose(false)
		f, err := ln.File()
		if err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Dup(int(f.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = f.Close(), ln.Close()
		sockets = append(sockets, systemd.Socket{FD: fd, Name: name, Family: unix.AF_UNIX, Type: unix.SOCK_STREAM, Addr: filepath.Join(dir, name)})
	}
	ready := make(chan struct{})
	env := Env{
		Log: slog.New(slog.DiscardHandler), Managed: true, Ready: func() { close(ready) },
		Inherited: systemd.Inherited{Activated: true, Sockets: sockets},
	}
	d, err := New(parse(t, fmt.Sprintf("[limits]\nexit_idle='1s'\n[service.a]\nkind='echo'\nlisten=['%s/a']\n", dir)), env)
	if err != nil {
		t.Fatal(err)
	}
	r := &controlled{run(t, d), filepath.Join(dir, ControlName), dir}
	<-ready
	var st control.Status
	if err := r.dial().Call(control.Interface+".Status", nil, &st); err != nil || !st.Managed || st.Services != 1 {
		t.Errorf("%+v, %v", st, err)
	}
	if err := <-r.done; err != nil { // exit_idle, though a client of the control socket is there
		t.Error(err)
	}
	if _, err := os.Lstat(r.path); err != nil {
		t.Error(err)
	}
}
