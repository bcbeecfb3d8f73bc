// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLocalSubnets compares with what netlink says, which works here because
// tests run outside the sandbox.
func TestLocalSubnets(t *testing.T) {
	got, exact, err := localSubnets(testSocket(t, unix.AF_INET))
	if err != nil || !exact {
		t.Fatalf("localSubnets = %v, exact %v, %v", got, exact, err)
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err != nil || !p.Addr().Is4() {
			continue
		}
		if !slices.Contains(got, p.Masked()) {
			t.Errorf("%v is missing in %v", p.Masked(), got)
		}
	}
}

// TestLocalSubnetsWithoutMasks: an IPv6 listener does not tell netmasks, and
// then nobody but the machine itself may count as local.
func TestLocalSubnetsWithoutMasks(t *testing.T) {
	for _, family := range []int{unix.AF_INET6, unix.AF_UNIX} {
		got, exact, err := localSubnets(testSocket(t, family))
		if err != nil {
			t.Fatal(err)
		}
		if exact {
			t.Errorf("family %d: netmasks are said to be known", family)
		}
		for _, p := range got {
			if p.Addr().Is4() && p.Bits() != 32 {
				t.Errorf("family %d: %v is wider than one address", family, p)
			}
		}
	}
}

func TestParseIfreqs(t *testing.T) {
	record := func(name string, addr [4]byte) []byte {
		b := make([]byte, ifreqSize)
		copy(b, name)
		copy(b[unix.IFNAMSIZ+4:], addr[:])
		return b
	}
	tests := []struct {
		name string
		in   []byte
		want []interfaceAddr
	}{
		{"none", nil, nil},
		{"cut short", record("lo", [4]byte{127, 0, 0, 1})[:20], nil},
		{"without an address", record("eth0", [4]byte{}), nil},
		{
			"two", append(record("lo", [4]byte{127, 0, 0, 1}), record("a-name-of-16-byt", [4]byte{192, 0, 2, 9})...),
			[]interfaceAddr{{"lo", netip.MustParseAddr("127.0.0.1")}, {"a-name-of-16-byt", netip.MustParseAddr("192.0.2.9")}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := parseIfreqs(tt.in); !slices.Equal(got, tt.want) {
				t.Errorf("parseIfreqs = %v, want %v", got, tt.want)
			}
		})
	}
}

func testSocket(t *testing.T, family int) int {
	t.Helper()
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}
