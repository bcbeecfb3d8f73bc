// SPDX-License-Identifier: Apache-2.0

package service

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
)

// The PROXY protocol tells a backend who the client is, in front of the client's first
// byte (haproxy.org, doc/proxy-protocol.txt). Of a client on a Unix socket there is no
// address to tell: UNKNOWN in version 1, UNSPEC in version 2, with which the backend
// uses what it sees itself.

const proxySignature = "\r\n\r\n\x00\r\nQUIT\n"

// proxyHeader returns the header of that version for a client at from, which has
// connected to the address to. Addresses of two families, as behind a socket for both,
// are told as IPv6.
func proxyHeader(version config.SendProxy, from, to netip.AddrPort) []byte {
	known := from.IsValid() && to.IsValid()
	if known {
		from, to = sameFamily(from, to)
	}
	if version == config.SendProxyV1 {
		if !known {
			return []byte("PROXY UNKNOWN\r\n")
		}
		family := "TCP6"
		if from.Addr().Is4() {
			family = "TCP4"
		}
		return fmt.Appendf(nil, "PROXY %s %s %s %d %d\r\n", family, from.Addr(), to.Addr(), from.Port(), to.Port())
	}
	b := append([]byte(proxySignature), 0x21) // version 2, PROXY
	if !known {
		return append(b, 0, 0, 0)
	}
	family, size := byte(0x21), 36 // TCP over IPv6
	if from.Addr().Is4() {
		family, size = 0x11, 12
	}
	b = binary.BigEndian.AppendUint16(append(b, family), uint16(size))
	b = append(b, from.Addr().AsSlice()...)
	b = append(b, to.Addr().AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, from.Port())
	return binary.BigEndian.AppendUint16(b, to.Port())
}

// sameFamily returns both addresses without zones, as IPv4 if both are.
func sameFamily(a, b netip.AddrPort) (netip.AddrPort, netip.AddrPort) {
	x, y := a.Addr().Unmap().WithZone(""), b.Addr().Unmap().WithZone("")
	if x.Is4() != y.Is4() {
		x, y = netip.AddrFrom16(x.As16()), netip.AddrFrom16(y.As16())
	}
	return netip.AddrPortFrom(x, a.Port()), netip.AddrPortFrom(y, b.Port())
}

// localAddr returns where the client of fd has connected to, or the zero value if that
// is no TCP address.
func localAddr(fd int) netip.AddrPort {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}
	}
	return addrPort(sa)
}

// addrPort converts a TCP address; others are the zero value.
func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}
