// SPDX-License-Identifier: Apache-2.0

package sdtest

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestParseNative: a fake that took more than journald does would prove
// nothing.
func TestParseNative(t *testing.T) {
	const two = "\x02\x00\x00\x00\x00\x00\x00\x00"
	tests := []struct {
		name, in string
		want     []Field // nil means refused
	}{
		{"inline", "A=1\nB_2=x=y\n", []Field{{"A", "1"}, {"B_2", "x=y"}}},
		{"with length", "A\n" + two + "\n=\nB=\n", []Field{{"A", "\n="}, {"B", ""}}},
		{"empty", "", nil},
		{"no newline at the end", "A=1", nil},
		{"no newline after a length", "A\n" + two + "xx", nil},
		{"another byte after a length", "A\n" + two + "xxx\n", nil},
		{"length beyond the end", "A\n\xff\xff\xff\xff\xff\xff\xff\xff\n", nil},
		{"no length", "A\n\x02", nil},
		{"no name", "=1\n", nil},
		{"lower case", "a=1\n", nil},
		{"underscore", "_PID=1\n", nil},
		{"digit", "2XX=1\n", nil},
		{"65 bytes", strings.Repeat("A", 65) + "=1\n", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseNative([]byte(tt.in))
			if (err != nil) != (tt.want == nil) || tt.want != nil && !slices.Equal(got, tt.want) {
				t.Errorf("ParseNative(%q) = %q, %v, want %q", tt.in, got, err, tt.want)
			}
		})
	}
}

// TestJournalRefusesUnsealed: journald would halve its limit for a memfd
// without seals, or drop the record.
func TestJournalRefusesUnsealed(t *testing.T) {
	j, err := ListenJournal(filepath.Join(t.TempDir(), "j"))
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	fd, err := unix.MemfdCreate("x", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for _, p := range [][]byte{nil, []byte("A=1\n")} { // the second: bytes and a descriptor
		if err := unix.Sendmsg(j.fd, p, unix.UnixRights(fd), &unix.SockaddrUnix{Name: j.Path}, 0); err != nil {
			t.Fatal(err)
		}
		if e, err := j.Recv(0); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Recv() = %q, %v, want it refused", e.Fields, err)
		}
	}
}

// TestNotifyRefuses what PID 1 would throw away.
func TestNotifyRefuses(t *testing.T) {
	n, err := ListenNotify(filepath.Join(t.TempDir(), "n"))
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	for _, text := range []string{"", "A=\x00", "STATUS=" + strings.Repeat("x", 4096)} {
		if err := unix.Sendto(n.fd, []byte(text), 0, &unix.SockaddrUnix{Name: n.Path}); err != nil {
			t.Fatal(err)
		}
		if m, err := n.Recv(0); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Recv() = %.20q, %v, want it refused", m.Text, err)
		}
	}
	if _, err := n.Recv(0); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("nothing sent: Recv() = %v", err)
	}
}

// TestCloseOnce: a test closes a socket in the middle and its Cleanup closes it again.
// By then the number is another file's.
func TestCloseOnce(t *testing.T) {
	dir := t.TempDir()
	journal, err := ListenJournal(filepath.Join(dir, "j"))
	if err != nil {
		t.Fatal(err)
	}
	notify, err := ListenNotify(filepath.Join(dir, "n"))
	if err != nil {
		t.Fatal(err)
	}
	manager, err := ListenManager(filepath.Join(dir, "m"), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, end := range []func() error{journal.Close, notify.Close, manager.Close} {
		if err := end(); err != nil {
			t.Fatal(err)
		}
		var others [4]int // the manager has three
		for i := range others {
			if others[i], err = unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := end(); err != nil {
			t.Errorf("second Close = %v, want nil", err)
		}
		for _, fd := range others {
			if err := unix.Close(fd); err != nil {
				t.Errorf("the second Close took descriptor %d of another file: %v", fd, err)
			}
		}
	}
}
