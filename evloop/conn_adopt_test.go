// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"testing"

	"golang.org/x/sys/unix"
)

// AddStream makes of a socket what Add makes of it: the same kind, and the same options.
func TestLoopAddStream(t *testing.T) { eachBackend(t, addStream) }

func addStream(r *rig) {
	for _, tcp := range []bool{true, false} {
		pair := streamPair
		if tcp {
			pair = tcpPair
		}
		var conns [2]*Conn
		var peers [2]*peer
		for i := range conns {
			fd, p := pair(r.T)
			if i == 0 {
				conns[i], peers[i] = r.add(fd), p
				continue
			}
			unix.SetNonblock(fd, true)
			c, err := r.l.AddStream(fd, tcp, r.probe, nil)
			if err != nil {
				r.Fatal(err)
			}
			conns[i], peers[i] = c, p
		}
		if conns[0].kind != conns[1].kind {
			r.Errorf("tcp %v: of kind %x by AddStream, want %x", tcp, conns[1].kind, conns[0].kind)
		}
		if tcp {
			for _, name := range []int{unix.TCP_NODELAY, unix.TCP_NOTSENT_LOWAT} {
				want, _ := unix.GetsockoptInt(conns[0].FD(), unix.IPPROTO_TCP, name)
				if got, err := unix.GetsockoptInt(conns[1].FD(), unix.IPPROTO_TCP, name); got != want || err != nil {
					r.Errorf("option %d is %d (%v), want %d", name, got, err, want)
				}
			}
		}
		peers[1].write("hello")
		r.until("input", func() bool { return string(r.of(conns[1]).got) == "hello" })
		r.do(func() { conns[1].Write([]byte("hi")) })
		r.gets(peers[1], []byte("hi"))
	}
}
