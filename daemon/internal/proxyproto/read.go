// SPDX-License-Identifier: Apache-2.0

package proxyproto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Values of version 2.
const (
	version2     = 0x20 // high half of the 13th byte
	commandLocal = 0
	commandProxy = 1

	tcp4, size4 = 0x11, 12 // family and transport; bytes of addresses and ports
	tcp6, size6 = 0x21, 36

	lastFamily, lastTransport = 3, 2 // AF_UNIX, DGRAM

	head2 = len(signature) + 4 // bytes up to the length, and with it
)

// Longest is how many bytes a header may have. A line of version 1 has 107 at most. One
// of version 2 may have 65,551 by its length field, but real ones have some hundred:
// certificates are not in it, only their names.
const (
	longest1 = 107
	Longest  = 4096
)

// ErrMalformed is wrapped by every error of Parse.
var ErrMalformed = errors.New("malformed PROXY header")

// A Header is what a proxy says of a client.
type Header struct {
	From, To netip.AddrPort // never IPv4-mapped; zero: the connection counts as what it is itself
	Len      int            // bytes of the header
}

// Parse reads the header at the beginning of b. Both results are zero while more bytes
// are needed. What stands behind the header has no influence. TLVs of version 2 are not
// looked at. From is zero for a connection of the proxy itself (LOCAL, a health check)
// and for a client that has no TCP address (UNKNOWN, UNSPEC, a Unix socket).
func Parse(b []byte) (Header, error) {
	if begins(b, signature) {
		return parse2(b)
	}
	if begins(b, "PROXY ") {
		return parse1(b)
	}
	return Header{}, malformed("it does not begin with PROXY or the signature of version 2")
}

// begins reports whether b begins with s, as far as it goes.
func begins(b []byte, s string) bool {
	n := min(len(b), len(s))
	return string(b[:n]) == s[:n]
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
}

// parse1 reads a line of version 1.
func parse1(b []byte) (Header, error) {
	b = b[:min(len(b), longest1)]
	end := bytes.Index(b, []byte("\r\n"))
	switch {
	case end < 0 && len(b) == longest1:
		return Header{}, malformed("no end of line in %d bytes", longest1)
	case end < 0:
		return Header{}, nil
	}
	h := Header{Len: end + 2}
	words := strings.Split(string(b[:end]), " ")
	family := words[1]
	if family == "UNKNOWN" {
		return h, nil // the rest of the line must be ignored
	}
	if family != "TCP4" && family != "TCP6" || len(words) != 6 {
		return Header{}, malformed("%q", b[:end])
	}
	var err error
	if h.From, err = parse1End(family, words[2], words[4]); err == nil {
		h.To, err = parse1End(family, words[3], words[5])
	}
	if err != nil {
		return Header{}, err
	}
	return h, nil
}

// parse1End reads an address and its port.
func parse1End(family, addr, port string) (netip.AddrPort, error) {
	a, err := netip.ParseAddr(addr)
	if err != nil || a.Zone() != "" || a.Is4() != (family == "TCP4") {
		return netip.AddrPort{}, malformed("%q is no address of %s", addr, family)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || strconv.FormatUint(n, 10) != port {
		return netip.AddrPort{}, malformed("%q is no port", port)
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), nil
}

// parse2 reads version 2. A byte that is wrong is found when it comes, however long the
// header is to be.
func parse2(b []byte) (Header, error) {
	if len(b) < head2 {
		if n := len(signature); len(b) > n && (b[n]&0xf0 != version2 || b[n]&0x0f > commandProxy) {
			return Header{}, malformed("version and command are %#02x", b[n])
		}
		return Header{}, nil
	}
	command, kind := b[len(signature)], b[len(signature)+1]
	size := int(binary.BigEndian.Uint16(b[head2-2:]))
	need := map[byte]int{tcp4: size4, tcp6: size6}[kind]
	switch {
	case command&0xf0 != version2 || command&0x0f > commandProxy:
		return Header{}, malformed("version and command are %#02x", command)
	case kind>>4 > lastFamily || kind&0x0f > lastTransport:
		return Header{}, malformed("family and transport are %#02x", kind)
	case head2+size > Longest:
		return Header{}, malformed("%d bytes, more than %d", head2+size, Longest)
	case command&0x0f == commandProxy && size < need:
		return Header{}, malformed("%d bytes of addresses, want %d", size, need)
	case len(b) < head2+size:
		return Header{}, nil
	}
	h := Header{Len: head2 + size}
	if command&0x0f == commandProxy && need > 0 {
		h.From, h.To = parse2Ends(b[head2:head2+need], (need-4)/2)
	}
	return h, nil
}

// parse2Ends reads two addresses of that size and two ports.
func parse2Ends(b []byte, size int) (from, to netip.AddrPort) {
	a, _ := netip.AddrFromSlice(b[:size]) // 4 or 16 bytes
	z, _ := netip.AddrFromSlice(b[size : 2*size])
	return netip.AddrPortFrom(a.Unmap(), binary.BigEndian.Uint16(b[2*size:])),
		netip.AddrPortFrom(z.Unmap(), binary.BigEndian.Uint16(b[2*size+2:]))
}
