// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/handover"
	"penstock/daemon/internal/listen"
	"penstock/evloop/evlooptest"
)

// ownAddress returns an address on which nobody but this process listens, for a daemon
// that opens its sockets itself.
func ownAddress() string {
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d:7007", 64+pid>>16&63, pid>>8&255, pid&255)
}

// TestRestartKeepsTheTuning: who finds that a peer has vanished, the kernel or the
// daemon, is set anew only if the files have changed it. With as many connections as
// there may be, a system call for each is a part of the pause.
func TestRestartKeepsTheTuning(t *testing.T) {
	const mark = 12345 // of nobody but this test
	byKernel := int(listen.VanishedAfter / time.Millisecond)
	for _, tt := range []struct {
		name        string
		former, now string
		want        int
	}{
		{"by the kernel", "10s", "20s", mark},
		{"by the daemon", "0s", "10m", mark},
		{"no longer by the daemon", "0s", "10s", byKernel},
		{"no longer by the kernel", "10s", "0s", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			at := ownAddress()
			text := "[service.e]\nkind = 'echo'\nlisten = ['" + at + "']\nstall_timeout = '%s'\n"
			r, _ := runRestartable(t, parse(t, fmt.Sprintf(text, tt.former)))
			conn, err := net.Dial("tcp", at)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(evlooptest.Patience))
			c := talker{conn, t}
			c.say("x")
			c.hears("x")
			ours := -1
			queue := repack(t, r.leave(t), handover.Header{}, func(_ *handover.Records, fds []int) {
				if ours, err = unix.FcntlInt(uintptr(fds[0]), unix.F_DUPFD_CLOEXEC, 0); err == nil {
					err = unix.SetsockoptInt(ours, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, mark)
				}
			})
			defer unix.Close(ours)
			if err != nil {
				t.Fatal(err)
			}
			r, _ = runRestartable(t, parse(t, fmt.Sprintf(text, tt.now)), queue)
			c.say("y")
			c.hears("y")
			if got, err := unix.GetsockoptInt(ours, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT); got != tt.want || err != nil {
				t.Errorf("TCP_USER_TIMEOUT is %d ms (%v), want %d", got, err, tt.want)
			}
			r.stop(t)
		})
	}
}
