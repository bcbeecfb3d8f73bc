// SPDX-License-Identifier: Apache-2.0

package sdtest

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const patient = 10 * time.Second

// say sends a message with descriptors.
func say(t *testing.T, m *Manager, text string, fds ...int) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	if err := unix.Sendmsg(fd, []byte(text), rights, &unix.SockaddrUnix{Name: m.Path}, 0); err != nil {
		t.Fatal(err)
	}
}

// pair returns a socket pair. The test closes it.
func pair(t *testing.T) [2]int {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestManagerKeeps goes through the life of a store. Each message is waited for, so
// what it did can be looked at.
func TestManagerKeeps(t *testing.T) {
	m, err := ListenManager(filepath.Join(ShortDir(t), "n"), 3)
	if err != nil {
		t.Fatal(err)
	}
	kept, dropped, unnamed, refused := pair(t), pair(t), pair(t), pair(t)
	for _, p := range [][2]int{kept, unnamed, refused} {
		defer unix.Close(p[0])
	}
	steps := []struct {
		name, text string
		fds        []int
		then       func() // after the message
		want       []string
	}{
		{"stored", "FDSTORE=1\nFDNAME=kept\nFDPOLL=0", kept[1:], func() { unix.Close(kept[1]) }, []string{"kept"}},
		{
			"the writer's end is closed", "FDSTORE=1\nFDNAME=dropped", dropped[1:],
			func() { unix.Close(dropped[0]); unix.Close(dropped[1]) },
			[]string{"kept"},
		},
		{"no name", "FDSTORE=1\nFDPOLL=0", unnamed[1:], func() { unix.Close(unnamed[1]) }, []string{"kept", "stored"}},
		{"one name for two", "FDSTORE=1\nFDPOLL=0\nFDNAME=kept", []int{0}, nil, []string{"kept", "stored", "kept"}},
		{"full", "FDSTORE=1\nFDNAME=late\nFDPOLL=0", refused[1:], func() { unix.Close(refused[1]) }, []string{"kept", "stored", "kept"}},
		{"removed with READY=1", "READY=1\nFDSTOREREMOVE=1\nFDNAME=kept", nil, nil, []string{"stored"}},
		{"nothing to remove", "FDSTOREREMOVE=1\nFDNAME=kept", nil, nil, []string{"stored"}},
	}
	for _, s := range steps {
		say(t, m, s.text, s.fds...)
		first, _, _ := strings.Cut(s.text, "\n")
		if _, err := m.WaitFor(first, patient); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if s.then != nil {
			s.then()
		}
		if got := m.Names(); !slices.Equal(got, s.want) {
			t.Errorf("%s: keeps %q, want %q", s.name, got, s.want)
		}
	}
	for name, fd := range map[string]int{"removed": kept[0], "refused": refused[0]} {
		if !hungUp(held{fd: fd, poll: true}) {
			t.Errorf("%s: the other end has not hung up", name)
		}
	}
	if hungUp(held{fd: unnamed[0], poll: true}) {
		t.Error("what is kept has hung up")
	}
	m.Empty()
	if got := m.Names(); got != nil || !hungUp(held{fd: unnamed[0], poll: true}) {
		t.Errorf("after a stop it keeps %q", got)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// TestManagerPass: a next process gets the very descriptors, the newest first, and the
// manager still has them.
func TestManagerPass(t *testing.T) {
	m, err := ListenManager(filepath.Join(ShortDir(t), "n"), 3)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	older, newer := pair(t), pair(t)
	defer unix.Close(older[0])
	defer unix.Close(newer[0])
	store := func(name string, p [2]int) {
		say(t, m, "FDSTORE=1\nFDPOLL=0\nFDNAME="+name, p[1])
		unix.Close(p[1])
		if _, err := m.WaitFor("FDSTORE=1", patient); err != nil {
			t.Fatal(err)
		}
	}
	store("older", older)
	store("newer", newer)
	for range 2 {
		files, names, err := m.Pass()
		if err != nil || len(files) != 2 || !slices.Equal(names, []string{"newer", "older"}) {
			t.Fatalf("Pass() = %d files, %q, %v", len(files), names, err)
		}
		for i, p := range [][2]int{newer, older} {
			if _, err := unix.Write(int(files[i].Fd()), []byte("x")); err != nil {
				t.Error(err)
			}
			files[i].Close()
			if n, err := unix.Read(p[0], make([]byte, 2)); n != 1 {
				t.Errorf("%s: read %d bytes, %v", names[i], n, err)
			}
		}
	}
}

// TestManagerRefuses: a fake that took what PID 1 ignores would prove nothing.
func TestManagerRefuses(t *testing.T) {
	tests := []struct {
		name, text string
		fds        []int
	}{
		{"a barrier with more than itself", "BARRIER=1\nSTATUS=x", []int{0}},
		{"a barrier without a descriptor", "BARRIER=1", nil},
		{"a barrier with two", "BARRIER=1", []int{0, 1}},
		{"nothing to store", "FDSTORE=1\nFDNAME=a", nil},
		{"a removal without a name", "FDSTOREREMOVE=1", nil},
		{"a name with a colon", "FDSTORE=1\nFDNAME=a:b", []int{0}},
		{"a name with a control character", "FDSTORE=1\nFDNAME=a\tb", []int{0}},
		{"a name that is not ASCII", "FDSTORE=1\nFDNAME=ü", []int{0}},
		{"a name of 256 bytes", "FDSTORE=1\nFDNAME=" + strings.Repeat("a", 256), []int{0}},
		{"descriptors for nothing", "READY=1", []int{0}},
		{"a zero byte", "READY=1\x00", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := ListenManager(filepath.Join(ShortDir(t), "n"), 3)
			if err != nil {
				t.Fatal(err)
			}
			say(t, m, tt.text, tt.fds...)
			if msg, err := m.WaitFor("X=1", patient); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("WaitFor() = %q, %v, want it refused", msg.Text, err)
			}
			if got := m.Names(); got != nil {
				t.Errorf("keeps %q", got)
			}
			if err := m.Close(); err == nil {
				t.Error("Close tells of nothing")
			}
		})
	}
}
