// SPDX-License-Identifier: Apache-2.0

package proxyproto

import (
	"net/netip"
	"testing"
)

// The bytes are those of the examples in haproxy.org, doc/proxy-protocol.txt.
func TestWrite(t *testing.T) {
	const v2 = "\r\n\r\n\x00\r\nQUIT\n\x21"
	tests := []struct{ from, to, v1, v2 string }{
		{
			"192.0.2.1:56324", "198.51.100.7:443", "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n",
			v2 + "\x11\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x07\xdc\x04\x01\xbb",
		},
		{
			"[::ffff:192.0.2.1]:1", "[::ffff:198.51.100.7]:2", "PROXY TCP4 192.0.2.1 198.51.100.7 1 2\r\n",
			v2 + "\x11\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x07\x00\x01\x00\x02",
		},
		{
			"[fe80::1%eth0]:1", "[::2]:2", "PROXY TCP6 fe80::1 ::2 1 2\r\n",
			v2 + "\x21\x00\x24\xfe\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" +
				"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01\x00\x02",
		},
		{
			"192.0.2.1:1", "[::2]:2", "PROXY TCP6 ::ffff:192.0.2.1 ::2 1 2\r\n",
			v2 + "\x21\x00\x24\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x01" +
				"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01\x00\x02",
		},
		{"", "", "PROXY UNKNOWN\r\n", v2 + "\x00\x00\x00"},
	}
	for _, tt := range tests {
		var from, to netip.AddrPort
		if tt.from != "" {
			from, to = netip.MustParseAddrPort(tt.from), netip.MustParseAddrPort(tt.to)
		}
		if got := string(V1(from, to)); got != tt.v1 {
			t.Errorf("%s to %s, version 1:\n got %q\nwant %q", tt.from, tt.to, got, tt.v1)
		}
		if got := string(V2(from, to)); got != tt.v2 {
			t.Errorf("%s to %s, version 2:\n got %q\nwant %q", tt.from, tt.to, got, tt.v2)
		}
	}
}
