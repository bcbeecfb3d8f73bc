// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bytes"
	"net/netip"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// "local-subnets" means the networks this machine has an address in. The
// usual way to list them is a netlink socket (net.Interfaces). In the sandbox
// that fails twice: the address family is forbidden, and the process lives in
// an empty network namespace of its own. An inherited listener belongs to the
// host's namespace, and the ioctls of netdevice(7) on it see what is there:
//
//	SIOCGIFCONF     every IPv4 address, on a socket of any family
//	SIOCGIFNETMASK  its netmask, on an IPv4 socket only
//
// There is no such ioctl for IPv6, so link-local (fe80::/10) and unique local
// addresses (fc00::/7, RFC 4193) stand for the local ones; neither is routed
// from the Internet.
var localIPv6 = []netip.Prefix{
	netip.MustParsePrefix("::1/128"),
	netip.MustParsePrefix("fe80::/10"),
	netip.MustParsePrefix("fc00::/7"),
}

// localSubnets returns the networks seen from the socket fd. On an IPv6
// socket the netmasks are unknown and exact is false: only the addresses of
// the machine itself are returned then, because a guess could let in strangers.
func localSubnets(fd int) (subnets []netip.Prefix, exact bool, err error) {
	interfaces, err := interfaceAddrs(fd)
	if err != nil {
		return nil, false, err
	}
	exact = true
	subnets = append(subnets, localIPv6...)
	for _, i := range interfaces {
		bits, err := netmaskBits(fd, i.name)
		if err != nil {
			exact = false
			bits = 32
		}
		subnets = append(subnets, netip.PrefixFrom(i.addr, bits).Masked())
	}
	return subnets, exact, nil
}

type interfaceAddr struct {
	name string // "eth0", or "eth0:1" for a further address
	addr netip.Addr
}

// ifreqSize is sizeof(struct ifreq): a name and a union whose largest member,
// struct ifmap, holds two longs and eight bytes.
const ifreqSize = unix.IFNAMSIZ + 2*unsafe.Sizeof(uintptr(0)) + 8

// ifconf is struct ifconf of netdevice(7).
type ifconf struct {
	length int32
	buf    unsafe.Pointer
}

// interfaceAddrs lists the IPv4 addresses. The kernel fills what fits and
// says nothing about the rest, so the buffer grows until room is left over.
func interfaceAddrs(fd int) ([]interfaceAddr, error) {
	for n := 16; ; n *= 2 {
		buf := make([]byte, n*int(ifreqSize))
		conf := ifconf{length: int32(len(buf)), buf: unsafe.Pointer(&buf[0])}
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCGIFCONF, uintptr(unsafe.Pointer(&conf)))
		runtime.KeepAlive(buf)
		if errno != 0 {
			return nil, os.NewSyscallError("ioctl SIOCGIFCONF", errno)
		}
		if int(conf.length) < len(buf) || n > 1<<12 {
			return parseIfreqs(buf[:conf.length]), nil
		}
	}
}

// parseIfreqs reads the records of SIOCGIFCONF:
//
//	0        16   18   20      24          ifreqSize
//	┌────────┬────┬────┬───────┬───────────┐
//	│ name\0 │ AF │port│ IPv4  │ unused    │
//	└────────┴────┴────┴───────┴───────────┘
func parseIfreqs(b []byte) []interfaceAddr {
	var out []interfaceAddr
	for ; len(b) >= int(ifreqSize); b = b[ifreqSize:] {
		name, _, _ := bytes.Cut(b[:unix.IFNAMSIZ], []byte{0})
		addr := netip.AddrFrom4([4]byte(b[unix.IFNAMSIZ+4 : unix.IFNAMSIZ+8]))
		if !addr.IsUnspecified() {
			out = append(out, interfaceAddr{string(name), addr})
		}
	}
	return out
}

func netmaskBits(fd int, name string) (int, error) {
	req, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFNETMASK, req); err != nil {
		return 0, os.NewSyscallError("ioctl SIOCGIFNETMASK", err)
	}
	mask, err := req.Inet4Addr()
	if err != nil {
		return 0, err
	}
	ones := 0
	for _, m := range mask {
		for ; m&0x80 != 0; m <<= 1 {
			ones++
		}
	}
	return ones, nil
}
