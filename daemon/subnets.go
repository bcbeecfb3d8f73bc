// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/listen"
	"penstock/evloop"
)

// subnetsAge is how long an answer about the machine's networks is used. After that
// the next client causes a new question, so no timer is needed.
const subnetsAge = 10 * time.Second

// localSubnets holds the last answer.
type localSubnets struct {
	known config.Subnets
	at    evloop.Time // 0: never asked
	told  bool        // it was logged that the answer is incomplete
}

// subnets returns the networks that local-subnets stands for, for a client of ep with
// the address addr and the socket fd. An incomplete answer is not used again, since
// the socket of the next client may give a complete one. A Unix socket, through which a
// proxy or a companion announces clients, never gives one. So behind it a complete answer
// is used at any age, since it is better than none.
func (d *Daemon) subnets(ep *endpoint, fd int, addr netip.Addr) config.Subnets {
	if !ep.conf.Allow.LocalSubnets && !ep.conf.Deny.LocalSubnets {
		return config.Subnets{}
	}
	if !addr.Is4() {
		return config.Subnets{Networks: listen.LocalIPv6}
	}
	now := d.loop.Now()
	if d.local.at == 0 || d.local.known.Incomplete || now.Sub(d.local.at) >= subnetsAge {
		networks, err := d.ipv4Networks(fd)
		if err != nil && d.local.at != 0 && !d.local.known.Incomplete && isUnix(fd) {
			return d.local.known
		}
		d.local.known, d.local.at = config.Subnets{Networks: networks, Incomplete: err != nil}, now
		if err != nil && !d.local.told {
			ep.log.SubnetsUnknown(err)
		}
		d.local.told = err != nil
	}
	return d.local.known
}

// isUnix reports whether fd is a Unix socket.
func isUnix(fd int) bool {
	family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	return err == nil && family == unix.AF_UNIX
}

// ipv4Networks asks the kernel for the machine's IPv4 networks, through a listener, a
// new socket or the socket of a client. A process in a sandbox may not open a socket.
func (d *Daemon) ipv4Networks(client int) ([]netip.Prefix, error) {
	listener := -1
	for _, l := range d.listeners() {
		if l.Family == unix.AF_INET && !l.dead() {
			listener = l.FD
			break
		}
	}
	return listen.Networks(listener, !d.env.Managed, client)
}
