// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"penstock/daemon/internal/text"
)

// An Address is one value of "listen", in the syntax of ListenStream= in
// systemd.socket(5), so that a line can be copied between the two:
//
//	"7000"               port on all addresses, IPv6 and IPv4: [::]:7000
//	"192.0.2.1:7000"     IPv4
//	"[2001:db8::1]:7000" IPv6
//	"[fe80::1]:7000%eth0" with an interface, after the port as systemd has it;
//	                     only link-local addresses keep it
//	"/run/x.sock"        Unix
//	"@x"                 Unix, abstract
//
// Text is not the text of the file but is made from the parsed address. It goes into
// a socket unit, where a stray newline would begin a line of its own, and it is
// compared with what getsockname(2) says about an inherited socket. Addresses are
// comparable with ==.
type Address struct {
	Text     string         // canonical, as systemctl prints it
	Network  string         // "tcp" or "unix"; of a target also Name
	AddrPort netip.AddrPort // of "tcp"; the zone is in the address. Of a Name only the port
	Host     string         // of a Name
	Path     string         // of "unix"; starts with / or @
}

// Name is the Network of a target that is known by the name of its host.
const Name = "name"

// String returns the canonical text.
func (a Address) String() string { return a.Text }

// maxUnixPath is sun_path of unix(7) without the final zero byte.
const maxUnixPath = 107

// ParseAddress parses one value of "listen". What it accepts, systemd accepts
// with the same meaning.
func ParseAddress(s string) (Address, error) {
	switch {
	case s == "":
		return Address{}, errors.New("is empty")
	case s[0] == '/' || s[0] == '@':
		return parseUnix(s)
	case strings.HasPrefix(s, "vsock:"):
		return Address{}, fmt.Errorf("%q: AF_VSOCK is not supported", s)
	}
	ap, err := parseTCP(s)
	if err != nil {
		return Address{}, fmt.Errorf("%q: %w%s", s, err, instead(s, false))
	}
	// For other addresses the kernel ignores the interface (ipv6(7)), and
	// getsockname(2) does not return it.
	if addr := ap.Addr(); !addr.IsLinkLocalUnicast() {
		ap = netip.AddrPortFrom(addr.WithZone(""), ap.Port())
	}
	return Address{Text: textTCP(ap), Network: "tcp", AddrPort: ap}, nil
}

// instead returns `, did you mean "X"?` if s is an address in the form of another
// program, such as tcp://. A target is an address to connect to, and not to listen on.
func instead(s string, target bool) string {
	for _, prefix := range []string{"tcp://", "tcp:", "unix://", "unix:"} {
		s = strings.TrimPrefix(s, prefix)
	}
	for _, suffix := range []string{"/tcp", "/"} {
		s = strings.TrimSuffix(s, suffix)
	}
	for _, any := range []string{":", "*:", "[]:"} {
		if port, ok := strings.CutPrefix(s, any); ok {
			s = port
		}
	}
	if port, ok := strings.CutPrefix(s, "localhost:"); ok {
		s = "127.0.0.1:" + port
	}
	switch {
	case s == "":
		return ""
	case s[0] == '/' || s[0] == '@':
		if _, err := parseUnix(s); err != nil {
			return ""
		}
	default:
		ap, err := parseTCP(s)
		if err != nil {
			return ""
		}
		if target && ap.Addr().WithZone("").IsUnspecified() {
			s = "127.0.0.1:" + strconv.Itoa(int(ap.Port()))
		}
	}
	return fmt.Sprintf(", did you mean %q?", s)
}

// parseUnix checks s against sockaddr_un and against the syntax of unit
// files, where a line ends at a newline, a trailing backslash continues it and
// blanks around a value are lost.
func parseUnix(s string) (Address, error) {
	if s[0] == '/' {
		if strings.HasSuffix(s, "/") {
			return Address{}, fmt.Errorf("%q: is a directory", s)
		}
		s = path.Clean(s)
		// systemd does this too, so getsockname(2) returns the path with /run.
		if rest, ok := strings.CutPrefix(s, "/var/run/"); ok && varRunIsRun() {
			s = "/run/" + rest
		}
	}
	switch {
	case len(s) == 1:
		return Address{}, fmt.Errorf("%q: has no name", s)
	case len(s) > maxUnixPath:
		return Address{}, fmt.Errorf("%q: is longer than %d bytes, the most a Unix socket can have", s, maxUnixPath)
	case strings.ContainsFunc(s, text.IsControl):
		return Address{}, fmt.Errorf("%q: holds a control character", s)
	case strings.TrimSpace(s) != s || strings.HasSuffix(s, `\`):
		return Address{}, fmt.Errorf("%q: ends in a blank or a backslash, which no unit file can say", s)
	}
	return Address{Text: s, Network: "unix", Path: s}, nil
}

// varRunIsRun reports whether /var/run is a link to /run, or does not exist, as is
// the case before /var is mounted.
var varRunIsRun = sync.OnceValue(func() bool {
	fi, err := os.Lstat("/var/run")
	return err != nil || fi.Mode().Type() == fs.ModeSymlink
})

// realPath returns the path of a Unix socket with the links in its folder resolved.
// It is used to find two services with one file, which would take the file from each
// other.
func (a Address) realPath() string {
	if a.Path == "" || a.Path[0] != '/' {
		return a.Path
	}
	folder, name := path.Split(a.Path)
	return path.Join(resolve(folder), name)
}

// resolve returns the folder with its links resolved. A folder that does not exist
// is returned as it is, since it will be made under that name.
func resolve(folder string) string {
	if resolved, err := filepath.EvalSymlinks(folder); err == nil {
		return resolved
	}
	return folder
}

// What is wrong with an address to listen on. One to connect to may be a name, but no port
// alone: see parseTarget.
var (
	errForm     = errors.New(`want PORT, IPv4:PORT, [IPv6]:PORT, /path or @name`)
	errName     = errors.New("names are not looked up")
	errBrackets = errors.New("IPv6 goes in brackets, IPv4 does not")
)

func parseTCP(s string) (netip.AddrPort, error) {
	if strings.Trim(s, "0123456789") == "" {
		port, err := parsePort(s)
		return netip.AddrPortFrom(netip.IPv6Unspecified(), port), err
	}
	host, rest, bracketed := s, "", false
	if s[0] == '[' {
		host, rest, bracketed = strings.Cut(s[1:], "]:")
	} else {
		host, rest, _ = strings.Cut(s, ":")
	}
	if rest == "" || s[0] == '[' && !bracketed {
		return netip.AddrPort{}, errForm
	}
	addr, err := parseHost(host, bracketed)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if bracketed {
		var zone string
		var zoned bool
		rest, zone, zoned = strings.Cut(rest, "%")
		if zoned {
			if err := checkInterface(zone); err != nil {
				return netip.AddrPort{}, err
			}
			addr = addr.WithZone(zone)
		}
	}
	port, err := parsePort(rest)
	return netip.AddrPortFrom(addr, port), err
}

func parseHost(host string, bracketed bool) (netip.Addr, error) {
	if bracketed && strings.Contains(host, "%") {
		return netip.Addr{}, errors.New("write the interface after the port, [fe80::1]:7000%eth0, as systemd does")
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%q is not an address (%w)", host, errName)
	}
	if addr.Is6() != bracketed {
		return netip.Addr{}, errBrackets
	}
	return addr, nil
}

// parsePort takes decimal digits without a leading zero: systemd would read
// 010 as octal, so the same text would mean two ports.
func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || s[0] == '0' {
		return 0, fmt.Errorf("%q is not a port, 1 to 65535", s)
	}
	return uint16(n), nil
}

// checkInterface takes what dev_valid_name() of the kernel and systemd both
// take: at most 15 bytes, no slash, colon, percent sign, blank or quote.
func checkInterface(s string) error {
	bad := func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`/:%"'\`, r) }
	if s == "" || s == "." || s == ".." || len(s) > 15 || strings.ContainsFunc(s, bad) {
		return fmt.Errorf("%q is not the name of a network interface", s)
	}
	return nil
}

func textTCP(ap netip.AddrPort) string {
	zone := ap.Addr().Zone()
	text := netip.AddrPortFrom(ap.Addr().WithZone(""), ap.Port()).String()
	if zone != "" {
		text += "%" + zone
	}
	return text
}

// Overlaps reports whether the two cannot be opened side by side: they are
// equal, or one is the wildcard that covers the other. [::] covers IPv4 as
// well: sockets are made dual-stack, whatever net.ipv6.bindv6only says
// (ipv6(7)).
func (a Address) Overlaps(b Address) bool {
	if a.Network != b.Network || a.Network == "unix" {
		return a.Network == b.Network && a.realPath() == b.realPath()
	}
	if a.AddrPort.Port() != b.AddrPort.Port() {
		return false
	}
	return collide(a.AddrPort.Addr(), b.AddrPort.Addr())
}

// collide reports whether two addresses of one port cannot be open side by side.
func collide(a, b netip.Addr) bool {
	taken := takes(b)
	return slices.ContainsFunc(meets(a), func(where string) bool { return slices.Contains(taken, where) })
}

const (
	anywhere  = "any"
	anywhere4 = "any4"
)

// takes names where an address is: what it is called, and what covers it.
func takes(addr netip.Addr) []string {
	addr = addr.Unmap()
	if addr.Is4() || addr == netip.IPv6Unspecified() {
		return []string{addr.String(), anywhere, anywhere4}
	}
	return []string{addr.String(), anywhere}
}

// meets names where another address may be that cannot be open beside this one: a
// wildcard meets all that it covers.
func meets(addr netip.Addr) []string {
	addr = addr.Unmap()
	switch {
	case addr == netip.IPv6Unspecified():
		return []string{anywhere}
	case addr == netip.IPv4Unspecified():
		return []string{anywhere4}
	case addr.Is4():
		return []string{addr.String(), netip.IPv4Unspecified().String(), netip.IPv6Unspecified().String()}
	default:
		return []string{addr.String(), netip.IPv6Unspecified().String()}
	}
}
