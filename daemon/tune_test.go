// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// TestProbesAreSpread: clients that come together are not probed together, or
// the kernel drops the answers of some and they are cut although alive.
func TestProbesAreSpread(t *testing.T) {
	ln, fd, family := passed(t, "tcp")
	at := ln.Addr().String()
	r := runActivated(t, fmt.Sprintf("[service.echo]\nkind='echo'\nlisten=['%s']\n", at), fd, family, at)
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
