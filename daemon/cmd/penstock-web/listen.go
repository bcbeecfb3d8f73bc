// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"

	"penstock/daemon/internal/config"
	"penstock/systemd"
)

// The places for connections are bounded, and no source may have most of them:
//
//	room? ─► accept ─► may it ask? ─► has it too many? ─► package http
//	  no: it waits       no: closed     yes: closed
//	  in the backlog
//
// A peer that may not ask is closed here, and not by the gate, which would have to read
// its request first. All users of a proxy for TLS come from one address, that of this
// machine, and share its part.

// mostOfSource is how many places one address may have.
const mostOfSource = mostConns / 4

// places are those of all listeners together.
type places struct {
	room   chan struct{} // a token for each connection
	admits func(netip.Addr) bool
	log    *limited

	mu   sync.Mutex
	from map[netip.Addr]int // connections of each source
}

func newPlaces(admits func(netip.Addr) bool, log *limited) *places {
	return &places{room: make(chan struct{}, mostConns), admits: admits, log: log, from: make(map[netip.Addr]int)}
}

// take gives a connection its place, and returns what gives it back. If it must not have
// one, take returns nil.
func (p *places) take(c net.Conn) (leave func()) {
	peer := peerAt(c)
	if !p.admits(peer.Addr.Addr()) {
		p.log.refused("address", peer)
		return nil
	}
	source := sourceOf(peer.Addr.Addr())
	p.mu.Lock()
	defer p.mu.Unlock()
	if source.IsValid() && p.from[source] >= mostOfSource {
		p.log.refused("per_source", peer)
		return nil
	}
	p.from[source]++
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.from[source]--; p.from[source] == 0 {
			delete(p.from, source)
		}
		<-p.room
	})
}

// sourceOf returns what counts as one: an address, or the network of one customer, as for
// the daemon. That of a Unix socket is no address: its mode says who may come.
func sourceOf(a netip.Addr) netip.Addr {
	if a.Is6() && !a.IsLinkLocalUnicast() && !a.IsPrivate() {
		return netip.PrefixFrom(a.WithZone(""), 64).Masked().Addr()
	}
	return a
}

// inherit makes listeners of what the service manager has passed.
func inherit(sockets []systemd.Socket, p *places) (out []net.Listener, err error) {
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
		out = append(out, newBounded(l, p))
	}
	if len(out) == 0 {
		return nil, errors.New("the service manager has passed no socket: see penstock-web.socket")
	}
	return out, nil
}

// open makes listeners for a process that was started by hand.
func open(addresses []config.Address, p *places) (out []net.Listener, err error) {
	for _, a := range addresses {
		network, at := a.Network, a.Path
		if network == "tcp" {
			at = a.AddrPort.String()
			if a.AddrPort.Addr().Is4() { // Go takes 0.0.0.0 for all addresses, also of IPv6
				network = "tcp4"
			}
		}
		l, err := net.Listen(network, at)
		if err != nil {
			return nil, err
		}
		out = append(out, newBounded(l, p))
	}
	return out, nil
}

// A bounded listener accepts while there is room. A client that comes when there is none
// waits in the backlog.
type bounded struct {
	net.Listener
	places *places
	closed chan struct{}
	end    func() // closes closed, once
}

func newBounded(l net.Listener, p *places) *bounded {
	b := &bounded{Listener: l, places: p, closed: make(chan struct{})}
	b.end = sync.OnceFunc(func() { close(b.closed) })
	return b
}

// Accept waits for room, then for a client that may have it.
func (b *bounded) Accept() (net.Conn, error) {
	select {
	case b.places.room <- struct{}{}:
	case <-b.closed:
		return nil, net.ErrClosed
	}
	for {
		c, err := b.Listener.Accept()
		if err != nil {
			<-b.places.room
			return nil, err
		}
		if leave := b.places.take(c); leave != nil {
			return &boundedConn{Conn: c, leave: leave}, nil
		}
		_ = c.Close()
	}
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
