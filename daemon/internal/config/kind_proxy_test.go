// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// TestTargets: what a target of a proxy may be, and what is taken for the name of a host.
func TestTargets(t *testing.T) {
	long := strings.Repeat("a", 63)
	tests := []struct {
		text, host string // host "": it is refused
		port       uint16
	}{
		{"app:80", "app", 80},
		{"app.example:8080", "app.example", 8080},
		{"a-b.c_d.example.:65535", "a-b.c_d.example.", 65535},
		{"xn--bcher-kva.example:1", "xn--bcher-kva.example", 1},
		{"sensor.local:1", "sensor.local", 1},
		{"4you.example:1", "4you.example", 1},
		{long + ".example:80", long + ".example", 80},
		{"app", "", 0},
		{"app:", "", 0},
		{"app:0", "", 0},
		{"app:080", "", 0},
		{"app:65536", "", 0},
		{"app:http", "", 0},
		{":80", "", 0},
		{".:80", "", 0},
		{"a..b:80", "", 0},
		{"-app:80", "", 0},
		{"app/:80", "", 0},
		{"a b:80", "", 0},
		{"bücher.example:80", "", 0},
		{"app:80:90", "", 0},
		{"127.0.0.1.5:80", "", 0},
		{"127.0.1:80", "", 0},
		{"*:80", "", 0},
		{"tcp://127.0.0.1:80", "", 0},
		{"a" + long + ".example:80", "", 0},
		{strings.Repeat("a.", 130) + "example:80", "", 0},
	}
	for _, tt := range tests {
		got, err := parseTarget(tt.text)
		want := Address{Text: tt.text, Network: Name, AddrPort: netip.AddrPortFrom(netip.Addr{}, tt.port), Host: tt.host}
		if tt.host == "" && err == nil || tt.host != "" && (err != nil || got != want) {
			t.Errorf("%q is %+v, %v", tt.text, got, err)
		}
	}
}

// TestNamesOfTargets: a name costs a program, and opens the network, which is said.
func TestNamesOfTargets(t *testing.T) {
	tests := []struct {
		to, why  string
		programs string
		n        int
	}{
		{`"127.0.0.1:80"`, "", "[]", 0},
		{
			`"a.example:80", "127.0.0.1:80", "b:1"`,
			"x.toml:4: service.x.to: warning: \"a.example:80\" is a name, so the sandbox lets the service reach every address (IPAddressAllow=any)\n" +
				"x.toml:4: service.x.to: warning: \"b:1\" is a name, so the sandbox lets the service reach every address (IPAddressAllow=any)\n",
			"[/usr/bin/getent]", 2,
		},
	}
	for _, tt := range tests {
		c, err := Parse("x.toml", []byte(of(KindProxy)+"to=["+tt.to+"]\n"))
		if err != nil {
			t.Fatal(err)
		}
		s := c.Services[0]
		if got := fmt.Sprint(c.Warnings); got != tt.why {
			t.Errorf("%s: warnings %q, want %q", tt.to, got, tt.why)
		}
		if got := fmt.Sprint(s.Programs()); got != tt.programs || s.Children() != tt.n || s.Conns() != 2*tt.n || s.Files() < 6*tt.n {
			t.Errorf("%s: programs %s, %d at once, %d connections, %d files", tt.to, got, s.Children(), s.Conns(), s.Files())
		}
	}
}
