// SPDX-License-Identifier: Apache-2.0

package unit

import (
	"fmt"
	"strings"
	"testing"
)

// The network is open to exactly what the file names, and no further.
func TestProxiesDropIn(t *testing.T) {
	tests := []struct{ name, to, want string }{
		{"IPv4", `"127.0.0.1:80", "127.0.0.1:81"`, "PrivateNetwork=no\nRestrictAddressFamilies=AF_INET\nIPAddressAllow=127.0.0.1\n"},
		{"both", `"192.0.2.7:80", "[2001:db8::1]:80"`, "PrivateNetwork=no\nRestrictAddressFamilies=AF_INET AF_INET6\nIPAddressAllow=192.0.2.7 2001:db8::1\n"},
		{"an interface is no part of it", `"[fe80::1]:80%eth0"`, "PrivateNetwork=no\nRestrictAddressFamilies=AF_INET6\nIPAddressAllow=fe80::1\n"},
		{"IPv4 as IPv6", `"[::ffff:192.0.2.7]:80"`, "PrivateNetwork=no\nRestrictAddressFamilies=AF_INET6\nIPAddressAllow=192.0.2.7\n"},
		{"a name", `"app.example:80", "192.0.2.7:80"`, "PrivateNetwork=no\nRestrictAddressFamilies=AF_INET AF_INET6\nIPAddressAllow=any\n"},
		{"abstract", `"@x"`, "PrivateNetwork=no\n"},
	}
	for _, tt := range tests {
		text := fmt.Sprintf("[service.a]\n%s[service.b]\nkind = \"proxy\"\nlisten = [\"127.0.0.1:7\"]\nto = [%s]\n", echo, tt.to)
		cfg, err := load(t, text)
		if err != nil {
			t.Fatal(err)
		}
		files, err := Generate("/etc/penstock/penstock.toml", cfg, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, got, _ := strings.Cut(file(t, files, ProxiesDropIn), "[Service]\n")
		if got != tt.want {
			t.Errorf("%s: the drop-in says\n%swant\n%s", tt.name, got, tt.want)
		}
		if limit := read(t, file(t, files, ServiceDropIn))["Service.LimitNOFILE"]; len(limit) != 1 || limit[0] != "9216" {
			t.Errorf("%s: LimitNOFILE=%v, want room for two files of each of 4096 clients", tt.name, limit)
		}
	}
}
