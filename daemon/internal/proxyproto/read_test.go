// SPDX-License-Identifier: Apache-2.0

package proxyproto

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

const (
	v2Proxy = signature + "\x21"
	v2Local = signature + "\x20"
	four    = "\xc0\x00\x02\x01\xc6\x33\x64\x07\xdc\x04\x01\xbb" // 192.0.2.1:56324 to 198.51.100.7:443
)

// TestParse: what a header says of a client, and which one is none.
func TestParse(t *testing.T) {
	zeros := strings.Repeat("\x00", 15)
	six := zeros + "\x01" + zeros + "\x02" + "\x00\x01\x00\x02"
	mapped := zeros[:10] + "\xff\xff\xc0\x00\x02\x01" + zeros + "\x02" + "\x00\x01\x00\x02"
	for _, tt := range []struct {
		name, header string
		from, to     string // "": not announced
		bad          string // part of the error
	}{
		{"IPv4", "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n", "192.0.2.1:56324", "198.51.100.7:443", ""},
		{"IPv6", "PROXY TCP6 2001:db8::1 ::2 0 65535\r\n", "[2001:db8::1]:0", "[::2]:65535", ""},
		{"IPv4 as IPv6", "PROXY TCP6 ::ffff:192.0.2.1 ::2 1 2\r\n", "192.0.2.1:1", "[::2]:2", ""},
		{"unknown", "PROXY UNKNOWN\r\n", "", "", ""},
		{"unknown with more", "PROXY UNKNOWN ffff::1 what else\r\n", "", "", ""},
		{"the longest", "PROXY UNKNOWN " + strings.Repeat("x", 91) + "\r\n", "", "", ""},
		{"too long", "PROXY UNKNOWN " + strings.Repeat("x", 92) + "\r\n", "", "", "no end of line"},
		{"another word", "PROXIES TCP4", "", "", "does not begin"},
		{"a client's bytes", "GET / HTTP/1.1\r\n", "", "", "does not begin"},
		{"nothing said", "PROXY \r\n", "", "", `"PROXY "`},
		{"two spaces", "PROXY  TCP4 192.0.2.1 198.51.100.7 56324 443\r\n", "", "", "PROXY  TCP4"},
		{"a word too few", "PROXY TCP4 192.0.2.1 198.51.100.7 56324\r\n", "", "", "PROXY TCP4"},
		{"a word too many", "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443 x\r\n", "", "", "PROXY TCP4"},
		{"another family", "PROXY UDP4 192.0.2.1 198.51.100.7 56324 443\r\n", "", "", "UDP4"},
		{"the other family", "PROXY TCP4 ::1 ::2 56324 443\r\n", "", "", "no address of TCP4"},
		{"the other family for 6", "PROXY TCP6 192.0.2.1 198.51.100.7 1 2\r\n", "", "", "no address of TCP6"},
		{"a zone", "PROXY TCP6 fe80::1%eth0 ::2 1 2\r\n", "", "", "no address"},
		{"a port with a zero", "PROXY TCP4 192.0.2.1 198.51.100.7 01 443\r\n", "", "", "no port"},
		{"a port too high", "PROXY TCP4 192.0.2.1 198.51.100.7 65536 443\r\n", "", "", "no port"},
		{"a port with a sign", "PROXY TCP4 192.0.2.1 198.51.100.7 +1 443\r\n", "", "", "no port"},

		{"IPv4, version 2", v2Proxy + "\x11\x00\x0c" + four, "192.0.2.1:56324", "198.51.100.7:443", ""},
		{"IPv6, version 2", v2Proxy + "\x21\x00\x24" + six, "[::1]:1", "[::2]:2", ""},
		{"IPv4 as IPv6, version 2", v2Proxy + "\x21\x00\x24" + mapped, "192.0.2.1:1", "[::2]:2", ""},
		{"with TLVs", v2Proxy + "\x11\x00\x13" + four + "\x04\x00\x04abcd", "192.0.2.1:56324", "198.51.100.7:443", ""},
		{"local", v2Local + "\x00\x00\x00", "", "", ""},
		{"local with an address", v2Local + "\x11\x00\x0c" + four, "", "", ""},
		{"local, too short for an address", v2Local + "\x11\x00\x01x", "", "", ""},
		{"no family", v2Proxy + "\x00\x00\x00", "", "", ""},
		{"datagrams", v2Proxy + "\x12\x00\x0c" + four, "", "", ""},
		{"a Unix socket", v2Proxy + "\x31\x00\xd8" + strings.Repeat("/", 216), "", "", ""},
		{"the longest of version 2", v2Local + "\x00\x0f\xf0" + strings.Repeat("x", 4080), "", "", ""},
		{"too long for us", v2Local + "\x00\x0f\xf1" + strings.Repeat("x", 4081), "", "", "4097 bytes"},
		{"addresses cut", v2Proxy + "\x21\x00\x0c" + four, "", "", "want 36"},
		{"version 1 in binary", signature + "\x11", "", "", "0x11"},
		{"another command", signature + "\x22", "", "", "0x22"},
		{"another command, later", signature + "\x22\x00\x00\x00", "", "", "0x22"},
		{"family 4", v2Proxy + "\x41\x00\x00", "", "", "0x41"},
		{"transport 3", v2Proxy + "\x13\x00\x00", "", "", "0x13"},
	} {
		h, err := Parse([]byte(tt.header + "behind"))
		switch {
		case tt.bad != "":
			if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), tt.bad) {
				t.Errorf("%s: %+v, %v; want an error with %q", tt.name, h, err, tt.bad)
			}
			continue
		case err != nil || h.Len != len(tt.header):
			t.Errorf("%s: %d bytes, %v; want %d", tt.name, h.Len, err, len(tt.header))
			continue
		}
		if got := text(h.From); got != tt.from || text(h.To) != tt.to {
			t.Errorf("%s: from %q to %q, want %q and %q", tt.name, got, text(h.To), tt.from, tt.to)
		}
	}
}

func text(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// FuzzParse: however a header is cut, it is decided by its own bytes alone, once, and what
// it says can be written and read again.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", "P", "PROXY UNKNOWN\r\n", "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\nGET", "PROXY TCP6 ::1 ::ffff:192.0.2.1 1 2\r\n",
		"PROXY TCP4 192.0.2.1 198.51.100.7 1 2 3\r\n", "\r\n\r\n", v2Local + "\x00\x00\x00x", v2Proxy + "\x11\x00\x13" + four + "\x04\x00\x04abcd",
		v2Proxy + "\x31\x00\x00", signature + "\x31",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		whole, err := Parse(b)
		if whole.Len > len(b) || whole.Len > Longest || err != nil && whole != (Header{}) {
			t.Fatalf("Parse = %+v, %v, of %d bytes", whole, err, len(b))
		}
		decided := false
		for n := range min(len(b), Longest+1) {
			h, cut := Parse(b[:n])
			if h.Len == 0 && cut == nil && !decided {
				continue // wants more
			}
			decided = true
			if h != whole || (cut == nil) != (err == nil) || err == nil && n < whole.Len {
				t.Fatalf("of %d bytes %+v, %v; of all %d %+v, %v", n, h, cut, len(b), whole, err)
			}
		}
		if !whole.From.IsValid() {
			return
		}
		for _, written := range [][]byte{V1(whole.From, whole.To), V2(whole.From, whole.To)} {
			h, err := Parse(append(written, "behind"...))
			if err != nil || h.From != whole.From || h.To != whole.To || h.Len != len(written) {
				t.Fatalf("%q is read as %+v, %v; want %+v", written, h, err, whole)
			}
		}
	})
}
