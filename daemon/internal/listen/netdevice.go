// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"bytes"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The IPv4 networks of the machine, by the ioctls of netdevice(7) on a socket:
//
//	SIOCGIFCONF     every address and the label of its interface
//	SIOCGIFNETMASK  the netmask of one address
//	SIOCGIFDSTADDR  the address that the netmask belongs to: the other end's on
//	                a point-to-point link, else the same
//
// The usual way to ask is a netlink socket (net.Interfaces). In the sandbox
// that fails twice: the address family is forbidden, and the process lives in
// an empty network namespace of its own. A socket that came from outside belongs
// to the namespace it was made in, and ioctl(2) on it asks there.

// errAmbiguous says that an interface has one address twice. SIOCGIFNETMASK tells
// only the first of the two netmasks.
var errAmbiguous = errors.New("an interface has one address with two netmasks")

// errChanging says that the addresses were not the same twice in a row.
var errChanging = errors.New("the addresses of the machine are changing")

// ipv4Networks returns the networks that the machine has an address in, as
// seen from fd, an IPv4 socket. The list is complete, or there is an error.
//
// A netmask is asked for by label and address; the kernel takes the label's
// first one when the address has gone meanwhile. So the list of addresses must
// be the same before and after.
func ipv4Networks(fd int) ([]netip.Prefix, error) {
	before, err := interfaceAddrs(fd)
	if err != nil {
		return nil, err
	}
	for range 3 {
		networks, err := networksOf(fd, before)
		after, again := interfaceAddrs(fd)
		switch {
		case again != nil:
			return nil, again
		case slices.Equal(before, after):
			return networks, err
		}
		before = after
	}
	return nil, errChanging
}

func networksOf(fd int, addrs []interfaceAddr) (networks []netip.Prefix, err error) {
	for i, a := range addrs {
		if slices.Contains(addrs[:i], a) {
			return nil, fmt.Errorf("%w: %s on %s", errAmbiguous, a.addr, a.label)
		}
		mask, err := a.ask(fd, unix.SIOCGIFNETMASK)
		if err != nil {
			return nil, os.NewSyscallError("ioctl SIOCGIFNETMASK", err)
		}
		of, err := a.ask(fd, unix.SIOCGIFDSTADDR)
		if err != nil {
			return nil, os.NewSyscallError("ioctl SIOCGIFDSTADDR", err)
		}
		b := mask.As4()
		network := netip.PrefixFrom(of, bits.OnesCount32(uint32(b[0])<<24|uint32(b[1])<<16|uint32(b[2])<<8|uint32(b[3])))
		networks = append(networks, network.Masked())
		if of != a.addr {
			networks = append(networks, netip.PrefixFrom(a.addr, 32))
		}
	}
	return networks, nil
}

type interfaceAddr struct {
	label string // "eth0", or "eth0:1"
	addr  netip.Addr
}

// ask makes one of the ioctls about a, and returns the address that it tells.
func (a interfaceAddr) ask(fd int, request uint) (netip.Addr, error) {
	req, err := unix.NewIfreq(a.label)
	if err != nil {
		return netip.Addr{}, err
	}
	if err := req.SetInet4Addr(a.addr.AsSlice()); err != nil {
		return netip.Addr{}, err
	}
	if err := unix.IoctlIfreq(fd, request, req); err != nil {
		return netip.Addr{}, err
	}
	b, err := req.Inet4Addr()
	if err != nil {
		return netip.Addr{}, err
	}
	return netip.AddrFrom4([4]byte(b)), nil
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
		if int(conf.length) < len(buf) {
			return parseIfreqs(buf[:conf.length]), nil
		}
		if n > 1<<12 {
			return nil, os.NewSyscallError("ioctl SIOCGIFCONF", unix.E2BIG)
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
		label, _, _ := bytes.Cut(b[:unix.IFNAMSIZ], []byte{0})
		addr := netip.AddrFrom4([4]byte(b[unix.IFNAMSIZ+4 : unix.IFNAMSIZ+8]))
		if !addr.IsUnspecified() {
			out = append(out, interfaceAddr{string(label), addr})
		}
	}
	return out
}
