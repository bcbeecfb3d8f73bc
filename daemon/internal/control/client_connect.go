// SPDX-License-Identifier: Apache-2.0

package control

import (
	"bufio"
	"net"
	"time"
)

// Connect makes the connection that of a client of a service, and returns it. peer is who
// the client is, an address with a port, or "" for the caller itself. If the client is not
// let in, the error is a *Error, Reason says why, and c can be used further. Otherwise only
// what is returned is, and it owns the connection.
func (c *Client) Connect(service, peer string) (net.Conn, error) {
	const method = Interface + ".Connect"
	if err := c.send(Call{Method: method, Upgrade: true}, Target{Service: service, Peer: peer}); err != nil {
		return nil, err
	}
	if _, err := c.receive(c.patience); err != nil {
		return nil, wrap(method, err)
	}
	if err := c.conn.SetDeadline(time.Time{}); err != nil {
		return nil, wrap(method, err)
	}
	return &upgraded{c.conn, c.in}, nil
}

// An upgraded is the connection behind a reply that was its last: what came with that is
// read first.
type upgraded struct {
	net.Conn
	in *bufio.Reader
}

// Read reads what the service sends.
func (u *upgraded) Read(p []byte) (int, error) { return u.in.Read(p) }

// CloseWrite tells the service that nothing follows.
func (u *upgraded) CloseWrite() error {
	if c, ok := u.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return net.ErrClosed
}
