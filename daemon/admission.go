// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"penstock/daemon/internal/report"
	"penstock/daemon/internal/view"
)

// The admission of clients: by address or uid, then by number. The lists
// themselves are the configuration's (config.Service.Admits); here is what
// changes while the daemon runs.

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

// share returns how many connections of the process the source of p may have:
// what limits.per_source says, and never all places. No single address gets the
// last sixteenth of the places, one place at least. A user on Unix sockets has
// passed the permissions of the file and may take the last place.
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
