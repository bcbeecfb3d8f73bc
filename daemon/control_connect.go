// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"net/netip"
	"strings"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/control"
	"penstock/daemon/internal/service"
	"penstock/daemon/internal/view"
)

// Connect makes a control connection that of a client. From the reply on it is a client
// like any other, with the session, the bounds and the end of one, and nothing here knows
// of it any more:
//
//	call ─► admit ─┬─► reply ─► another handler, another State ─► endpoint.Open
//	               └─► refused: an error; the connection stays what it is
//
// The caller says who the client is, as a proxy does by accept_proxy, and the session
// remembers both in the same way (service.Via). A pair of sockets inside the daemon, with
// one end as the client, was the alternative. It copies each byte twice and adds a queue
// whose bound nobody has set, and after a restart somebody would have to join them again.

// longestZone is IFNAMSIZ without its NUL.
const longestZone = 15

// announcedPeer reads the address of a client.
func announcedPeer(s string) (p view.Peer, ok bool) {
	a, err := netip.ParseAddrPort(s)
	zone := a.Addr().Zone()
	if err != nil || len(zone) > longestZone || strings.ContainsFunc(zone, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return p, false
	}
	return view.Peer{Addr: netip.AddrPortFrom(a.Addr().Unmap(), a.Port())}, true
}

// connect makes the caller a client.
func (k *controlSocket) connect(a *asker) (func() bool, *control.Error) {
	var to control.Target
	err := control.Decode(a.call.Parameters, map[string]any{"service": &to.Service, "peer": &to.Peer}, "service")
	if err != nil {
		return nil, err
	}
	if !a.call.Upgrade || a.call.OneWay {
		return nil, control.ErrExpectedUpgrade
	}
	peer := a.peer
	if to.Peer != "" {
		var ok bool
		if peer, ok = announcedPeer(to.Peer); !ok {
			return nil, control.InvalidParameter("peer")
		}
	}
	ep, err := k.one(to.Service)
	if err != nil {
		return nil, err
	}
	if err := k.admits(ep, a, peer); err != nil {
		return nil, err
	}
	a.reply(struct{}{}, false)
	k.become(ep, a, peer)
	return nil, nil
}

// admits returns why a caller cannot become a client, or nil. What a listener would
// refuse is counted and logged. That the process is full is not, as for those who wait in
// a backlog.
func (k *controlSocket) admits(ep *endpoint, a *asker, peer view.Peer) *control.Error {
	switch x, is := ep.conf.Of.(*config.Exec); {
	case k.d.life.phase != ready && k.d.life.phase != reloading:
		return control.ErrStopping
	case ep.shut():
		return control.Refused("the service takes no new clients now")
	case k.d.clients() >= k.d.places: // before a silent client gives its place for nothing
		return control.Refused("limits.connections")
	case a.eof:
		return control.Refused("the caller has shut its side")
	case is && x.IO == config.IOSocket:
		return control.Refused(`the program needs a connection of its own: io = "socket"`)
	}
	if reason := ep.admit(a.conn.FD(), peer); reason != 0 && !ep.exchange(peer, reason) {
		ep.refuse(ControlName, peer, reason, nil)
		return control.Refused(reason.String())
	}
	return nil
}

// become makes the caller a client.
func (k *controlSocket) become(ep *endpoint, a *asker, peer view.Peer) {
	c := a.conn
	a.conn = nil
	k.left(a)
	k.d.hasBeside(-1)
	k.d.lastID++
	s := service.NewSession(k.d.lastID, peer, k.d.loop.Now(), &ep.owner)
	s.SetVia(&service.Via{
		Peer:   a.peer,
		Header: c.BytesIn() - uint64(len(c.Input())),
		Before: c.BytesOut() + uint64(c.Queued()),
	})
	c.SetHandler(ep, s)
	ep.Open(c)
	if ep.taps != nil {
		ep.tapInput(c, c.Input())
	}
}
