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

// subnetsAge is how long an answer about the machine's addresses is used. It
// is asked for again when a client comes, so nothing wakes up for it.
const subnetsAge = 10 * time.Second

// localSubnets is the last answer.
type localSubnets struct {
	known config.Subnets
	at    evloop.Time // 0: never asked
	told  bool        // the log knows that it is incomplete
}

// subnets returns what local-subnets means for a client of ep. addr is its
// address and fd its socket. An incomplete answer is not kept: through the next
// client's socket more may be found out.
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
		d.local.known, d.local.at = config.Subnets{Networks: networks, Incomplete: err != nil}, now
		if err != nil && !d.local.told {
			ep.log.SubnetsUnknown(err)
		}
		d.local.told = err != nil
	}
	return d.local.known
}

// ipv4Networks asks the kernel. A process in a sandbox may not open a socket for
// it.
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
