// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/listen"
)

// TestStallTimeoutRules: TCP_USER_TIMEOUT does not cut a client that lives and
// does not read before stall_timeout does. Where it is not set, the daemon looks
// for clients that have vanished, and takes none that lives for one.
func TestStallTimeoutRules(t *testing.T) {
	tests := []struct {
		stall string
		want  int // milliseconds
	}{
		{"0s", 0},
		{"30s", int(listen.VanishedAfter / time.Millisecond)},
		{"2m", int(listen.VanishedAfter / time.Millisecond)},
		{"10m", 0},
	}
	for _, tt := range tests {
		t.Run(tt.stall, func(t *testing.T) {
			ln, fd, family := passed(t, "tcp")
			at := ln.Addr().String()
			r := runActivated(t, fmt.Sprintf("[service.echo]\nkind='echo'\nlisten=['%s']\nstall_timeout='%s'\n", at, tt.stall), fd, family, at)
			defer r.stop(t)
			client, err := net.Dial("tcp", at)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if _, err := client.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if _, err := client.Read(make([]byte, 1)); err != nil { // it has been accepted
				t.Fatal(err)
			}
			got, looks, left := -1, false, 0
			r.do(func() {
				for c := range r.loop.Conns() {
					got, _ = unix.GetsockoptInt(c.FD(), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
				}
				looks = !r.timers[timerVanished].IsZero()
				r.findVanished()
				for range r.loop.Conns() {
					left++
				}
			})
			if got != tt.want || looks != (tt.want == 0) || left != 1 {
				t.Errorf("TCP_USER_TIMEOUT is %d ms, want %d; the daemon looks: %t; %d clients left", got, tt.want, looks, left)
			}
		})
	}
}

// TestIsSilent: a peer has vanished when it has not answered for two minutes, and
// has been asked more than once.
func TestIsSilent(t *testing.T) {
	const after = uint32(listen.VanishedAfter / time.Millisecond)
	for _, tt := range []struct {
		name string
		info unix.TCPInfo
		want bool
	}{
		{"reads", unix.TCPInfo{Last_ack_recv: 10}, false},
		{"has nothing to say, and is not asked", unix.TCPInfo{Last_ack_recv: 100 * after}, false},
		{"answers each probe of its window", unix.TCPInfo{Probes: 1, Last_ack_recv: after}, false},
		{"is on a slow link", unix.TCPInfo{Retransmits: 5, Last_ack_recv: after - 1}, false},
		{"answers no probe", unix.TCPInfo{Probes: 2, Last_ack_recv: after}, true},
		{"acknowledges nothing", unix.TCPInfo{Retransmits: 2, Last_ack_recv: after}, true},
		{"does neither", unix.TCPInfo{Retransmits: 1, Probes: 1, Last_ack_recv: after}, true},
	} {
		if got := isSilent(&tt.info); got != tt.want {
			t.Errorf("a peer that %s: vanished %t, want %t", tt.name, got, tt.want)
		}
	}
}

// TestIsOwed: output waits in the kernel for a peer that has not acknowledged it,
// and for one whose window is closed.
func TestIsOwed(t *testing.T) {
	for _, tt := range []struct {
		info unix.TCPInfo
		want bool
	}{
		{unix.TCPInfo{}, false},
		{unix.TCPInfo{Last_ack_recv: 1 << 30}, false},
		{unix.TCPInfo{Unacked: 1}, true},
		{unix.TCPInfo{Notsent_bytes: 1, Probes: 1}, true},
	} {
		if got := isOwed(&tt.info); got != tt.want {
			t.Errorf("%+v: owed %t, want %t", tt.info, got, tt.want)
		}
	}
}

// TestVanishedSleeps: the daemon looks for clients that have vanished for as long
// as output waits for one, and then not until somebody says something.
func TestVanishedSleeps(t *testing.T) {
	ln, fd, family := passed(t, "tcp")
	at := ln.Addr().String()
	r := runActivated(t, fmt.Sprintf("[service.echo]\nkind='echo'\nlisten=['%s']\nstall_timeout='0s'\nidle_timeout='0s'\n", at), fd, family, at)
	defer r.stop(t)
	client, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	onLoop := func() (again bool) { // one look, as if its time had come
		r.disarm(timerVanished)
		r.findVanished()
		return !r.timers[timerVanished].IsZero()
	}
	look := func() (again bool) {
		r.do(func() { again = onLoop() })
		return again
	}
	say := func(n int) {
		t.Helper()
		if _, err := client.Write(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	hear := func(n int) {
		t.Helper()
		if _, err := io.ReadFull(client, make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	say(1)
	hear(1)
	r.until("the acknowledgement of the byte", func() bool { return !onLoop() })
	armed := false
	say(1)
	hear(1)
	r.do(func() { armed = !r.timers[timerVanished].IsZero() })
	if !armed {
		t.Error("no look after a client has said something")
	}
	go func() {
		for err := error(nil); err == nil; { // until the end of the test
			_, err = client.Write(make([]byte, 64<<10))
		}
	}()
	r.until("a queue", func() (waits bool) {
		for c := range r.loop.Conns() {
			waits = waits || c.Queued() > 0
		}
		return waits
	})
	for range 3 {
		if !look() {
			t.Error("no further look while a client does not read")
		}
	}
	client.Close()
	r.until("the end of the client", func() bool { return r.clients() == 0 })
	if look() || r.vanished.patient != 0 {
		t.Errorf("it looks on with %d clients", r.vanished.patient)
	}
}
