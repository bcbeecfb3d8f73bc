// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"path"
	"strings"
)

// Two spellings can be the same address for the kernel. 0.1.0 did not see that in some
// cases: it did not follow links, it took the interface for a part of every IPv6
// address, and it took bind_device for a property of Unix sockets. It served a file
// with such a pair, though clients reached only one of the two, and an upgrade must
// not stop serving it. So a pair that 0.1.0 refused is a mistake, and a pair that it
// did not see is a warning.

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
