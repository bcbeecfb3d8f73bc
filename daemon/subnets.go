// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/evloop"
)

// "local-subnets" means the networks this machine has an address in. For IPv4
// they are asked for through an IPv4 socket of the machine's own network
// namespace (netdevice.go). There is always one: the client that has just
// connected. If it came through an IPv6 socket that takes both, its connection
// is made one of IPv4 first (IPV6_ADDRFORM in ipv6(7)); nothing changes for the
// client. The kernel does that as long as the client has not shut its side, so
// other sockets are asked before.
//
// There is no such way for IPv6, so link-local (fe80::/10) and unique local
// addresses (fc00::/7, RFC 4193) stand for the local ones; neither is routed
// from the Internet.
var localIPv6 = []netip.Prefix{
	netip.MustParsePrefix("::1/128"),
	netip.MustParsePrefix("fe80::/10"),
	netip.MustParsePrefix("fc00::/7"),
}

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
	switch now := d.loop.Now(); {
	case !ep.conf.Allow.LocalSubnets && !ep.conf.Deny.LocalSubnets:
		return config.Subnets{}
	case !addr.Is4():
		return config.Subnets{Networks: localIPv6}
	case d.local.at == 0 || d.local.known.Incomplete || now.Sub(d.local.at) >= subnetsAge:
		networks, err := d.ipv4Networks(fd)
		d.local.known, d.local.at = config.Subnets{Networks: networks, Incomplete: err != nil}, now
		if err != nil && !d.local.told {
			d.log.subnetsUnknown(ep.conf.Name, err)
		}
		d.local.told = err != nil
	}
	return d.local.known
}

// ipv4Networks asks an IPv4 listener, then a socket made for the question if
// the process is not in a sandbox, and at last the client. With an error it
// returns only the addresses of the machine itself.
func (d *Daemon) ipv4Networks(client int) ([]netip.Prefix, error) {
	for _, l := range d.listeners() {
		if l.family == unix.AF_INET && !l.dead() {
			return ipv4Networks(l.fd)
		}
	}
	if !d.env.Managed {
		if own, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err == nil {
			defer unix.Close(own)
			return ipv4Networks(own)
		}
	}
	if err := becomeIPv4(client); err != nil {
		return ownAddresses(client), err
	}
	return ipv4Networks(client)
}

// becomeIPv4 makes a connection with an IPv4 client one of AF_INET.
func becomeIPv4(fd int) error {
	family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return os.NewSyscallError("getsockopt SO_DOMAIN", err)
	}
	if family == unix.AF_INET {
		return nil
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_ADDRFORM, unix.AF_INET); err != nil {
		return fmt.Errorf("no IPv4 socket to ask for netmasks: %w", os.NewSyscallError("setsockopt IPV6_ADDRFORM", err))
	}
	return nil
}

// ownAddresses are networks of one address each. SIOCGIFCONF, unlike the
// netmasks, can be asked for on a socket of any family.
func ownAddresses(fd int) (networks []netip.Prefix) {
	addrs, _ := interfaceAddrs(fd) // if it fails, no client is local
	for _, a := range addrs {
		networks = append(networks, netip.PrefixFrom(a.addr, 32))
	}
	return networks
}
