// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
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

// LocalIPv6 are the networks of IPv6 that are local on every machine.
var LocalIPv6 = []netip.Prefix{
	netip.MustParsePrefix("::1/128"),
	netip.MustParsePrefix("fe80::/10"),
	netip.MustParsePrefix("fc00::/7"),
}

// Networks returns the IPv4 networks of this machine. It asks listener, an IPv4
// listening socket, or a socket made for the question if mayOpen is set, or at
// last client, whose connection it may change for that; -1 is no listener. With
// an error it returns only the addresses of the machine itself.
func Networks(listener int, mayOpen bool, client int) ([]netip.Prefix, error) {
	networks, err := askNetworks(listener, mayOpen, client)
	if err != nil {
		return ownAddresses(client), err
	}
	return networks, nil
}

// askNetworks is Networks without anything beside an error.
func askNetworks(listener int, mayOpen bool, client int) ([]netip.Prefix, error) {
	if listener >= 0 {
		return ipv4Networks(listener)
	}
	if mayOpen {
		if own, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err == nil {
			defer unix.Close(own)
			return ipv4Networks(own)
		}
	}
	if err := becomeIPv4(client); err != nil {
		return nil, err
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
