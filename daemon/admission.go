// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"penstock/daemon/internal/report"
	"penstock/daemon/internal/view"
)

// A client is admitted by its address or uid, then by the number of connections.
// Package config compares addresses with the lists (config.Service.Admits). The
// counts, which change while the daemon runs, are compared here.

// admit returns why the peer at the other end of fd may not come in, or 0.
func (l *listener) admit(fd int, p view.Peer) report.Reason {
	s := l.ep.conf
	switch {
	case l.Unix() && !s.AdmitsUID(p.UID):
		return report.RefusedUID
	case !l.Unix() && !s.Admits(p.Addr.Addr(), l.d.subnets(l.ep, fd, p.Addr.Addr())):
		return report.RefusedAddress
	case s.MaxConnections > 0 && l.ep.conns >= s.MaxConnections:
		return report.RefusedService
	case s.PerSource > 0 && l.ep.sources.count(p) >= s.PerSource,
		l.d.sources.count(p) >= l.d.share(p):
		return report.RefusedSource
	}
	return 0
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
