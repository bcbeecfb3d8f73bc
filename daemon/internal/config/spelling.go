// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"path"
	"strings"
)

// Two addresses that are one to the kernel were two to 0.1.0 when they were
// spelled in another way: it did not follow links, took an interface for part of
// every IPv6 address, and bind_device for a property of Unix sockets. A file with
// such a pair was served, though clients reached only one of the two, and an
// upgrade must not end that. So what 0.1.0 could see is a mistake, as it was
// there, and what it could not is a warning.

// A spelling is an address as 0.1.0 compared it.
type spelling struct {
	device string // of Unix sockets as well
	addr   netip.AddrPort
	path   string
}

// spelled returns how the address number i of d is written.
func (d described) spelled(i int) spelling {
	a := d.Listen[i]
	s := spelling{device: d.BindDevice, addr: a.AddrPort, path: a.Path}
	listed, _ := d.at["listen"].value.([]any)
	if len(listed) != len(d.Listen) {
		return s // some could not be read, which is a mistake anyway
	}
	text, _ := listed[i].(string)
	switch {
	case strings.HasPrefix(text, "/"):
		s.path = path.Clean(text)
	case a.Network == "tcp":
		if ap, err := parseTCP(text); err == nil {
			s.addr = ap
		}
	}
	return s
}

// clashes reports whether 0.1.0 refused the two side by side.
func (s spelling) clashes(o spelling) bool {
	if s.device != "" && o.device != "" && s.device != o.device {
		return false
	}
	if s.path != "" || o.path != "" {
		return s.path == o.path
	}
	return s.addr.Port() == o.addr.Port() && collide(s.addr.Addr(), o.addr.Addr())
}
