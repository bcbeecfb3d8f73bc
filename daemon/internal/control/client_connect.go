// SPDX-License-Identifier: Apache-2.0

package control

import (
	"bufio"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Connect makes the connection that of a client of a service, and returns it. peer is who
// the client is, an address with a port, or "" for the caller itself. If the client is not
// let in, the error is a *Error, Reason says why, and c can be used further. Otherwise only
// what is returned is, and it owns the connection.
func (c *Client) Connect(service, peer string) (*Upgraded, error) {
	const method = Interface + ".Connect"
	if err := c.send(Call{Method: method, Upgrade: true}, Target{Service: service, Peer: peer}); err != nil {
		return nil, err
	}
	if _, err := c.receive(c.patience); err != nil {
		return nil, wrap(method, err)
	}
	u := &Upgraded{c.conn, c.in}
	if err := u.SetDeadline(time.Time{}); err != nil {
		return nil, wrap(method, err)
	}
	return u, nil
}

// An Upgraded is the connection behind a reply that was its last: what came with that is
// read first.
type Upgraded struct {
	Conn
	in *bufio.Reader
}

// Read reads what the service sends.
func (u *Upgraded) Read(p []byte) (int, error) { return u.in.Read(p) }

// SetDeadline bounds reads and writes.
func (u *Upgraded) SetDeadline(t time.Time) error {
	return errors.Join(u.SetReadDeadline(t), u.SetWriteDeadline(t))
}

// CloseWrite tells the service that nothing follows.
func (u *Upgraded) CloseWrite() error {
	switch c := u.Conn.(type) {
	case interface{ CloseWrite() error }:
		return c.CloseWrite()
	case *os.File:
		raw, err := c.SyscallConn()
		if err != nil {
			return err
		}
		shut := raw.Control(func(fd uintptr) { err = os.NewSyscallError("shutdown", unix.Shutdown(int(fd), unix.SHUT_WR)) })
		return errors.Join(shut, err)
	}
	return errors.ErrUnsupported
}
