// SPDX-License-Identifier: Apache-2.0

package faulttest

import (
	"fmt"
	"io"
	"net"
)

// relayedBytes is what a client of a proxy sends: so much that it comes in bulk, and the
// daemon passes it on by splice(2).
const relayedBytes = 2 << 20

// addRelay puts a proxy into the file. Its backend is in the test, and does serve with each
// connection.
func (h *host) addRelay(name string, serve func(net.Conn)) {
	h.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	h.check(err)
	h.t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
	h.add(name, fmt.Sprintf("kind = \"proxy\"\nto = [%q]\n", ln.Addr()))
}

func echoes(conn net.Conn) { _, _ = io.Copy(conn, conn) }

// relayed is a client of a proxy before an echo. No page of what it sends is like the one
// before, so that none is lost, doubled or moved without a difference.
func (c *client) relayed() error {
	p := make([]byte, relayedBytes)
	for i := range p {
		p[i] = byte(i>>12) ^ byte(i*7)
	}
	if err := c.floods(p); err != nil {
		return err
	}
	return c.finish()
}
