// SPDX-License-Identifier: Apache-2.0

package proxyproto

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// signature begins a header of version 2. No line of text begins so.
const signature = "\r\n\r\n\x00\r\nQUIT\n"

// V1 returns the header of version 1, a line of text, for a client at from that has
// connected to the address to. If one of them is not valid, as behind a Unix socket, it
// is UNKNOWN, and the server uses what it sees itself. Addresses of two families are
// told as IPv6.
func V1(from, to netip.AddrPort) []byte {
	if !from.IsValid() || !to.IsValid() {
		return []byte("PROXY UNKNOWN\r\n")
	}
	from, to = sameFamily(from, to)
	family := "TCP6"
	if from.Addr().Is4() {
		family = "TCP4"
	}
	return fmt.Appendf(nil, "PROXY %s %s %s %d %d\r\n", family, from.Addr(), to.Addr(), from.Port(), to.Port())
}

// V2 returns the header of version 2 for the same client.
func V2(from, to netip.AddrPort) []byte {
	b := append([]byte(signature), version2|commandProxy)
	if !from.IsValid() || !to.IsValid() {
		return append(b, 0, 0, 0)
	}
	from, to = sameFamily(from, to)
	family, size := byte(tcp6), size6
	if from.Addr().Is4() {
		family, size = tcp4, size4
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
