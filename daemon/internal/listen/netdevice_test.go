// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/listen/listentest"
)

// TestIPv4Networks compares with what netlink says, which works here because
// tests run outside the sandbox.
func TestIPv4Networks(t *testing.T) {
	got, err := ipv4Networks(testSocket(t, unix.AF_INET))
	if err != nil {
		t.Fatal(err)
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

// TestIPv4NetworksOtherFamily: only an IPv4 socket tells netmasks.
func TestIPv4NetworksOtherFamily(t *testing.T) {
	for _, family := range []int{unix.AF_INET6, unix.AF_UNIX} {
		if got, err := ipv4Networks(testSocket(t, family)); err == nil {
			t.Errorf("family %d: %v, want an error", family, got)
		}
	}
}

// TestIPv4NetworksOfOneInterface: each address has its own netmask, also when
// an interface has several; on a point-to-point link it is the other end's.
func TestIPv4NetworksOfOneInterface(t *testing.T) {
	if !listentest.Alone(t) {
		return
	}
	listentest.IP(t, "link set lo up")
	listentest.IP(t, "addr add 10.1.2.3/8 dev lo")
	listentest.IP(t, "addr add 203.0.113.5/29 dev lo")
	listentest.IP(t, "addr add 203.0.113.6/29 dev lo")
	listentest.IP(t, "addr add 192.0.2.1 peer 198.51.100.9/24 dev lo")
	got, err := ipv4Networks(testSocket(t, unix.AF_INET))
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, p := range got {
		texts = append(texts, p.String())
	}
	slices.Sort(texts)
	want := "10.0.0.0/8 127.0.0.0/8 192.0.2.1/32 198.51.100.0/24 203.0.113.0/29"
	if text := strings.Join(slices.Compact(texts), " "); text != want {
		t.Errorf("networks %s, want %s", text, want)
	}
	listentest.IP(t, "addr add 10.1.2.3/16 dev lo")
	if got, err := ipv4Networks(testSocket(t, unix.AF_INET)); !errors.Is(err, errAmbiguous) {
		t.Errorf("one address with two netmasks: %v, %v, want %v", got, err, errAmbiguous)
	}
	// In doubt the machine itself gets in all the same, whatever socket was asked.
	fd, own := testSocket(t, unix.AF_INET), netip.MustParsePrefix("10.1.2.3/32")
	for _, listener := range []int{fd, -1} {
		got, err := Networks(listener, listener < 0, fd)
		if !errors.Is(err, errAmbiguous) || !slices.Contains(got, own) || slices.ContainsFunc(got, func(p netip.Prefix) bool { return p.Bits() != 32 }) {
			t.Errorf("in doubt: %v, %v; want the machine's addresses, and only them", got, err)
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
