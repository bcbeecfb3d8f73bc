// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"io"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/evloop/evlooptest"
)

// TestAside: what is put aside has no number, its client sees nothing of it, and it comes
// back in order.
func TestAside(t *testing.T) {
	eachForm(t, func(t *testing.T, f form) {
		a := NewAside()
		defer a.Close()
		list := f.pairs(t, 3)
		before := len(evlooptest.Descriptors())
		for _, c := range list {
			if !a.Put(c.server) {
				t.Fatal("there is no room")
			}
			c.server = -1
		}
		if got := len(evlooptest.Descriptors()); got != before-3 {
			t.Errorf("%d descriptors are open, want three less than %d", got, before)
		}
		for _, c := range list {
			wantNothing(t, c.client)
			fd, ok := a.Take()
			if !ok {
				t.Fatal("one does not come back")
			}
			c.server = fd
			write(t, c.client, "x")
			wantBytes(t, c.server, "x")
		}
		if fd, ok := a.Take(); ok {
			t.Errorf("descriptor %d was never put there", fd)
		}
	})
}

// TestAsideRefuses: a descriptor for which there is no room stays the caller's.
func TestAsideRefuses(t *testing.T) {
	a := NewAside()
	defer a.Close()
	must(unix.SetsockoptInt(a.in, unix.SOL_SOCKET, unix.SO_SNDBUF, 1)) // the least that there is
	fd := get(unix.Eventfd(0, unix.EFD_CLOEXEC))
	for a.Put(fd) {
		fd = get(unix.Eventfd(0, unix.EFD_CLOEXEC))
	}
	if err := unix.Close(fd); err != nil {
		t.Errorf("what was refused is not open: %v", err)
	}
}

// TestReset: a TCP client that is cut cannot take that for the end, and one that is ended
// does. On a Unix socket there is no difference.
func TestReset(t *testing.T) {
	eachForm(t, func(t *testing.T, f form) {
		for _, tt := range []struct {
			end  func(int)
			want error
		}{{Reset, unix.ECONNRESET}, {End, io.EOF}} {
			if !f.tcp {
				tt.want = io.EOF
			}
			c := f.pairs(t, 1)[0]
			tt.end(c.server)
			c.server = -1
			wantEnd(t, c.client, tt.want)
		}
	})
}
