// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	tests := []struct{ name, in, want string }{ // want "" is refused
		{"port alone is dual-stack", "7000", "[::]:7000"},
		{"IPv4", "127.0.0.1:7000", "127.0.0.1:7000"},
		{"IPv4 wildcard", "0.0.0.0:7000", "0.0.0.0:7000"},
		{"IPv6 is shortened", "[2001:DB8:0:0::1]:7000", "[2001:db8::1]:7000"},
		{"interface after the port", "[fe80::1]:7000%eth0", "[fe80::1]:7000%eth0"},
		{"interface that the kernel ignores and does not tell", "[::1]:7000%lo", "[::1]:7000"},
		{"interface of an address that is everywhere", "[2001:db8::1]:7000%eth0", "[2001:db8::1]:7000"},
		{"interface by number", "[fe80::1]:7000%2", "[fe80::1]:7000%2"},
		{"interface inside the brackets, which systemd refuses", "[fe80::1%eth0]:7000", ""},
		{"empty interface", "[fe80::1]:7000%", ""},
		{"interface that is none", "[fe80::1]:7000%a/b", ""},
		{"interface of IPv4", "127.0.0.1:7000%lo", ""},
		{"interface that the kernel ignores", "[::1]:7000%lo", "[::1]:7000"},
		{"the old name of /run, as systemd binds it", "/var/run/x.sock", "/run/x.sock"},
		{"path", "/run/penstock/x.sock", "/run/penstock/x.sock"},
		{"path is cleaned", "//run/./y/../x.sock", "/run/x.sock"},
		{"the old name of a folder", "/var/run/x.sock", runFolder() + "x.sock"},
		{"path with a blank inside", "/run/a b", "/run/a b"},
		{"abstract", "@x", "@x"},
		{"abstract is not a path", "@/a//b", "@/a//b"},
		{"longest path", "/" + strings.Repeat("x", 106), "/" + strings.Repeat("x", 106)},
		{"path too long for sun_path", "/" + strings.Repeat("x", 107), ""},
		{"folder", "/run/", ""},
		{"root", "/", ""},
		{"abstract without a name", "@", ""},
		{"newline would be a line of the unit", "/run/x\nExecStart=y", ""},
		{"zero byte", "@a\x00b", ""},
		{"blank at the end is lost in a unit", "/run/x ", ""},
		{"backslash at the end continues the line", `/run/x\`, ""},
		{"empty", "", ""},
		{"port 0 is not known to clients", "0", ""},
		{"port too large", "65536", ""},
		{"leading zero is octal to systemd", "010", ""},
		{"sign", "127.0.0.1:+80", ""},
		{"no port", "127.0.0.1", ""},
		{"no port after IPv6", "[::1]", ""},
		{"host name", "localhost:7000", ""},
		{"IPv6 without brackets", "::1:7000", ""},
		{"IPv4 in brackets", "[127.0.0.1]:7000", ""},
		{"vsock", "vsock:2:1234", ""},
		{"leading zeros in IPv4", "127.0.0.01:80", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, err := ParseAddress(tt.in)
			if (err != nil) != (tt.want == "") || a.Text != tt.want {
				t.Errorf("ParseAddress(%q) = %q, %v, want %q", tt.in, a.Text, err, tt.want)
			}
		})
	}
}

// runFolder is where /var/run leads on this machine.
func runFolder() string {
	if varRunIsRun() {
		return "/run/"
	}
	return "/var/run/"
}

func TestAddressParts(t *testing.T) {
	a, err := ParseAddress("[fe80::1]:7000%eth0")
	if err != nil || a.Network != "tcp" || a.AddrPort.Port() != 7000 || a.AddrPort.Addr().Zone() != "eth0" || a.Path != "" {
		t.Errorf("%+v, %v, want tcp, port 7000, zone eth0, no path", a, err)
	}
	a, err = ParseAddress("@x")
	if err != nil || a.Network != "unix" || a.Path != "@x" || a.AddrPort.IsValid() {
		t.Errorf("%+v, %v, want unix, path @x, no port", a, err)
	}
}

func TestOverlaps(t *testing.T) {
	tests := []struct {
		a, b string
		want bool
	}{
		{"127.0.0.1:1", "127.0.0.1:1", true},
		{"127.0.0.1:1", "127.0.0.1:2", false},
		{"127.0.0.1:1", "127.0.0.2:1", false},
		{"0.0.0.0:1", "127.0.0.1:1", true},
		{"0.0.0.0:1", "[::1]:1", false},
		{"1", "0.0.0.0:1", true}, // dual-stack
		{"1", "[::1]:1", true},
		{"1", "127.0.0.1:1", true},
		{"[::1]:1", "127.0.0.1:1", false},
		{"[::ffff:127.0.0.1]:1", "127.0.0.1:1", true},
		{"[fe80::1]:1%a", "[fe80::1]:1%b", false},
		{"/x", "/x", true},
		{"/x", "@/x", false},
		{"/x", "1", false},
	}
	for _, tt := range tests {
		a, errA := ParseAddress(tt.a)
		b, errB := ParseAddress(tt.b)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if a.Overlaps(b) != tt.want || b.Overlaps(a) != tt.want {
			t.Errorf("%s overlaps %s: %v and turned round %v, want %v", a, b, a.Overlaps(b), b.Overlaps(a), tt.want)
		}
	}
}
