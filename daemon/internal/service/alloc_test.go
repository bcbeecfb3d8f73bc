// SPDX-License-Identifier: Apache-2.0

package service

import (
	"testing"

	"golang.org/x/sys/unix"
)

// The path of a message, from the wire to the wire, does not allocate. The
// client uses plain system calls, so that everything that is counted is ours.
func TestMessagesDoNotAllocate(t *testing.T) {
	tests := []struct{ name, conf, in, out string }{
		{"echo", `kind="echo"`, "hello\n", "hello\n"},
		{"lookup", lancelot, "What is your quest?", "To seek the Holy Grail."},
		{"ticker PING", `kind="ticker"` + "\ninterval=\"1h\"", "PING\r\n", "+PONG\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := serve(t, tt.conf)
			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fds[0])
			r.do(func() {
				if _, err := r.loop.Add(fds[1], r, r.session()); err != nil {
					t.Error(err)
				}
			})
			in, out := []byte(tt.in), make([]byte, 100)
			ask := func() {
				unix.Write(fds[0], in)
				if n, err := unix.Read(fds[0], out); err != nil || string(out[:n]) != tt.out {
					t.Fatalf("got %q (%v), want %q", out[:max(n, 0)], err, tt.out)
				}
			}
			ask() // buffers that are kept are made by the first
			if n := testing.AllocsPerRun(200, ask); n != 0 {
				t.Errorf("%v allocations for a message, want none", n)
			}
		})
	}
}
