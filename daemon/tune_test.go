// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"log/slog"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/systemd"
)

// TestProbesAreSpread: clients that come together are not probed together, or
// the kernel drops the answers of some and they are cut although alive.
func TestProbesAreSpread(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	at := ln.Addr().String()
	ready := make(chan struct{})
	d, err := New(parse(t, fmt.Sprintf("[service.echo]\nkind='echo'\nlisten=['%s']\n", at)), Env{
		Log: slog.New(slog.DiscardHandler), Managed: true, Ready: func() { close(ready) },
		Inherited: systemd.Inherited{Activated: true, Sockets: []systemd.Socket{
			{FD: fd, Name: "echo", Family: unix.AF_INET, Type: unix.SOCK_STREAM, Addr: at},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, d)
	<-ready
	const clients = 10
	for range clients {
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err != nil { // it has been accepted
			t.Fatal(err)
		}
	}
	moments := make(map[int]bool)
	r.do(func() {
		for c := range r.loop.Conns() {
			s, _ := unix.GetsockoptInt(c.FD(), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
			moments[s] = true
			c.Abort(nil)
		}
	})
	if len(moments) != clients {
		t.Errorf("%d clients are probed at %d moments: %v", clients, len(moments), moments)
	}
	r.stop(t)
}
