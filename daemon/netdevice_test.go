// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
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

// inNamespace names the variable by which a test learns that it is in a network
// namespace of its own.
const inNamespace = "PENSTOCK_TEST_NAMESPACE"

// alone runs the calling test again in a network namespace that has nothing but
// a loopback interface, and reports whether this is that run.
func alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inNamespace) != "" {
		return true
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EINVAL) {
		t.Skip("no network namespace of its own:", err)
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// ip runs ip(8).
func ip(t *testing.T, line string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", line, err, out)
	}
}

// TestIPv4NetworksOfOneInterface: each address has its own netmask, also when
// an interface has several; on a point-to-point link it is the other end's.
func TestIPv4NetworksOfOneInterface(t *testing.T) {
	if !alone(t) {
		return
	}
	ip(t, "link set lo up")
	ip(t, "addr add 10.1.2.3/8 dev lo")
	ip(t, "addr add 203.0.113.5/29 dev lo")
	ip(t, "addr add 203.0.113.6/29 dev lo")
	ip(t, "addr add 192.0.2.1 peer 198.51.100.9/24 dev lo")
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
	ip(t, "addr add 10.1.2.3/16 dev lo")
	if got, err := ipv4Networks(testSocket(t, unix.AF_INET)); !errors.Is(err, errAmbiguous) {
		t.Errorf("one address with two netmasks: %v, %v, want %v", got, err, errAmbiguous)
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
