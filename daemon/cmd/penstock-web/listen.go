// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"penstock/daemon/internal/config"
	"penstock/systemd"
)

// inherit makes listeners of what the service manager has passed.
func inherit(sockets []systemd.Socket) (out []net.Listener, err error) {
	room := make(chan struct{}, mostConns)
	for _, s := range sockets {
		f := os.NewFile(uintptr(s.FD), s.Addr)
		l, err := net.FileListener(f)
		_ = f.Close() // the listener has a copy
		if err != nil {
			return nil, fmt.Errorf("socket %s: %w", s.Addr, err)
		}
		if u, ok := l.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false) // the file is the service manager's
		}
		out = append(out, newBounded(l, room))
	}
	if len(out) == 0 {
		return nil, errors.New("the service manager has passed no socket: see penstock-web.socket")
	}
	return out, nil
}

// open makes listeners for a process that was started by hand.
func open(addresses []config.Address) (out []net.Listener, err error) {
	room := make(chan struct{}, mostConns)
	for _, a := range addresses {
		at := a.Path
		if a.Network == "tcp" {
			at = a.AddrPort.String()
		}
		l, err := net.Listen(a.Network, at)
		if err != nil {
			return nil, err
		}
		out = append(out, newBounded(l, room))
	}
	return out, nil
}

// A bounded listener accepts while there is room. A client that comes when there is none
// waits in the backlog.
type bounded struct {
	net.Listener
	room   chan struct{}
	closed chan struct{}
	end    func() // closes closed, once
}

func newBounded(l net.Listener, room chan struct{}) *bounded {
	b := &bounded{Listener: l, room: room, closed: make(chan struct{})}
	b.end = sync.OnceFunc(func() { close(b.closed) })
	return b
}

// Accept waits for room, then for a client.
func (b *bounded) Accept() (net.Conn, error) {
	select {
	case b.room <- struct{}{}:
	case <-b.closed:
		return nil, net.ErrClosed
	}
	c, err := b.Listener.Accept()
	if err != nil {
		<-b.room
		return nil, err
	}
	return &boundedConn{Conn: c, leave: sync.OnceFunc(func() { <-b.room })}, nil
}

// Close ends an Accept that waits for room, too: Shutdown of package http waits for it.
func (b *bounded) Close() error {
	b.end()
	return b.Listener.Close()
}

// A boundedConn gives its room back.
type boundedConn struct {
	net.Conn
	leave func()
}

// Close ends the connection.
func (c *boundedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
