// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/service"
)

// Who may come in: by address or uid, then by number. The lists themselves
// are the configuration's (config.Service.Admits); here is what changes while
// the daemon runs.

// admit returns why the peer may not come in, or "".
func (l *listener) admit(p service.Peer) string {
	s := l.ep.conf
	switch {
	case l.unix() && !s.AdmitsUID(p.UID):
		return refusedUID
	case !l.unix() && !s.Admits(p.Addr.Addr(), l.d.subnets(l.ep)):
		return refusedAddress
	case s.MaxConnections > 0 && l.ep.conns >= s.MaxConnections:
		return refusedService
	case s.PerSource > 0 && l.ep.sources.count(p) >= s.PerSource:
		return refusedSource
	}
	return ""
}

// subnetsAge is how long an answer about the machine's addresses is used. It
// is asked for again when a client comes, so nothing wakes up for it.
const subnetsAge = 10 * time.Second

// subnets returns what local-subnets means now, or nil when the service does
// not ask for it.
func (d *Daemon) subnets(ep *endpoint) []netip.Prefix {
	if !ep.conf.Allow.LocalSubnets && !ep.conf.Deny.LocalSubnets {
		return nil
	}
	if now := d.loop.Now(); d.localAt == 0 || now.Sub(d.localAt) >= subnetsAge {
		local, err := d.findSubnets()
		d.local, d.localAt = local, now
		if err != nil && !d.localUnknown {
			d.log.subnetsUnknown(ep.conf.Name, err)
		}
		d.localUnknown = err != nil
	}
	return d.local
}

var errNoMasks = errors.New("no IPv4 listener to learn netmasks from")

// findSubnets asks an IPv4 listener, of any service: in the sandbox only
// inherited sockets see the host's network. Without one, a process that is
// not in a sandbox makes a socket for the question.
func (d *Daemon) findSubnets() ([]netip.Prefix, error) {
	fd := -1
	for _, l := range d.listeners() {
		if l.family == unix.AF_INET || l.family == unix.AF_INET6 && fd < 0 {
			fd = l.fd
		}
		if l.family == unix.AF_INET {
			break
		}
	}
	if !d.env.Managed {
		own, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			defer unix.Close(own)
			fd = own
		}
	}
	local, exact, err := localSubnets(fd)
	if err == nil && !exact {
		err = errNoMasks
	}
	return local, err
}

// sources counts the connections of each source. An IPv6 source is a /64,
// because one host can use all of its addresses; a Unix source is a uid.
//
// The key is a number, which keeps the map small and free of pointers:
//
//	IPv6  the upper 64 bits of the address
//	IPv4  1<<32 | address      the IPv6 addresses that begin like these two
//	uid   2<<32 | uid          are reserved (RFC 4291, section 2.4)
type sources struct{ conns map[uint64]int32 }

func newSources() sources { return sources{make(map[uint64]int32)} }

func sourceOf(p service.Peer) uint64 {
	switch a := p.Addr.Addr(); {
	case !a.IsValid():
		return 2<<32 | uint64(p.UID)
	case a.Is4():
		b := a.As4()
		return 1<<32 | uint64(binary.BigEndian.Uint32(b[:]))
	default:
		b := a.As16()
		return binary.BigEndian.Uint64(b[:8])
	}
}

func (s *sources) count(p service.Peer) int { return int(s.conns[sourceOf(p)]) }
func (s *sources) add(p service.Peer)       { s.conns[sourceOf(p)]++ }

func (s *sources) remove(p service.Peer) {
	key := sourceOf(p)
	if s.conns[key]--; s.conns[key] <= 0 {
		delete(s.conns, key)
	}
}
