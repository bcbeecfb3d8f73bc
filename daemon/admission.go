// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"penstock/daemon/internal/report"
	"penstock/daemon/internal/view"
)

// A client is admitted by its address or uid, then by the number of connections.
// Package config compares addresses with the lists (config.Service.Admits). The
// counts, which change while the daemon runs, are compared here. A client that comes
// through a proxy is admitted by what that announces, see announce.go.

// admit returns why the peer at the other end of fd may not come in, or 0.
func (ep *endpoint) admit(fd int, p view.Peer) report.Reason {
	switch {
	case !p.Addr.IsValid() && !ep.conf.AdmitsUID(p.UID):
		return report.RefusedUID
	case !ep.admitsAddress(fd, p):
		return report.RefusedAddress
	case ep.full():
		return report.RefusedService
	case !ep.admitsSource(p):
		return report.RefusedSource
	}
	return 0
}

// admitProxy returns why the proxy at the other end may not announce a client, or 0. It
// is not counted by its address: whoever may announce any address can evade that bound.
func (l *listener) admitProxy(p view.Peer) report.Reason {
	switch {
	case l.Unix() && !l.ep.conf.AdmitsUID(p.UID):
		return report.RefusedUID
	case l.ep.full():
		return report.RefusedService
	}
	return 0
}

// admitAnnounced returns why a client that was announced on fd may not come in, or 0. It
// has its place already.
func (ep *endpoint) admitAnnounced(fd int, p view.Peer) report.Reason {
	switch {
	case !ep.admitsAddress(fd, p):
		return report.RefusedAddress
	case !ep.admitsSource(p):
		return report.RefusedSource
	}
	return 0
}

// admitsAddress compares with allow and deny, which are not about users.
func (ep *endpoint) admitsAddress(fd int, p view.Peer) bool {
	addr := p.Addr.Addr()
	return !addr.IsValid() || ep.conf.Admits(addr, ep.d.subnets(ep, fd, addr))
}

// full reports whether the service has all the connections that it may.
func (ep *endpoint) full() bool {
	return ep.conf.MaxConnections > 0 && ep.conns >= ep.conf.MaxConnections
}

// fullFor reports whether the service itself has all the connections of that source.
func (ep *endpoint) fullFor(p view.Peer) bool {
	return ep.conf.PerSource > 0 && ep.sources.count(p) >= ep.conf.PerSource
}

// admitsSource compares with the bounds of a source, those of the service and of the
// process.
func (ep *endpoint) admitsSource(p view.Peer) bool {
	return !ep.fullFor(p) && ep.d.sources.count(p) < ep.d.share(p)
}

// share returns how many connections of the process the source of p may have. That
// is limits.per_source at most. The last sixteenth of the places, at least one, is
// never given to a single address. A user on Unix sockets may take the last place,
// since the permissions of the file have let that user in.
func (d *Daemon) share(p view.Peer) int {
	share := d.places
	if p.Addr.IsValid() && d.places > 1 {
		share -= max(1, d.places/16)
	}
	if n := d.cfg.Limits.PerSource; n > 0 {
		share = min(share, n)
	}
	return share
}
