// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"net/netip"
	"slices"
	"strings"

	"penstock/daemon/internal/config"
	"penstock/systemd"
)

// Inherited sockets are matched with services by name (FileDescriptorName=); only then
// are their addresses compared with the file. The order has no meaning: systemd 252 and
// 257 pass the same units in different orders. If the name fits and the address does
// not, the socket is served all the same. Either a drop-in of the administrator has
// changed the address, or the file was edited and not applied. In both cases a port
// that answers is better than one that hangs. A listed address without a socket makes
// the service degraded.

// A Claim gives an inherited socket to a service.
type Claim struct {
	Service *config.Service
	Socket  systemd.Socket
	Listed  bool // its address is one of Service.Listen
}

// Assign matches sockets to services. extra are those that nobody wants.
func Assign(services []*config.Service, sockets []systemd.Socket) (claims []Claim, extra []systemd.Socket) {
	for _, sock := range sockets {
		s := byName(services, sock.Name)
		if s == nil && sock.Name == systemd.UnknownName {
			s = byAddress(services, sock)
		}
		if s == nil {
			extra = append(extra, sock)
			continue
		}
		claims = append(claims, Claim{s, sock, slices.ContainsFunc(s.Listen, func(a config.Address) bool {
			return sameAddress(a, sock.Addr)
		})})
	}
	return claims, extra
}

// byName finds a service by the name of a socket. A unit without
// FileDescriptorName= passes its own name, penstock-NAME.socket.
func byName(services []*config.Service, name string) *config.Service {
	short := strings.TrimPrefix(strings.TrimSuffix(name, ".socket"), "penstock-")
	for _, want := range []string{name, short} {
		for _, s := range services {
			if s.Name == want {
				return s
			}
		}
	}
	return nil
}

func byAddress(services []*config.Service, sock systemd.Socket) *config.Service {
	for _, s := range services {
		for _, a := range s.Listen {
			if sameAddress(a, sock.Addr) {
				return s
			}
		}
	}
	return nil
}

// sameAddress compares a value of listen with what getsockname(2) said.
func sameAddress(a config.Address, bound string) bool {
	if a.Text == bound {
		return true
	}
	b, err := config.ParseAddress(bound)
	return err == nil && same(a, b)
}

// same reports whether a socket at b is that of a, a value of listen. On a kernel
// without IPv6 ListenStream=PORT is 0.0.0.0:PORT.
func same(a, b config.Address) bool {
	if a.AddrPort.Addr() == netip.IPv6Unspecified() && b.AddrPort.Addr() == netip.IPv4Unspecified() {
		return a.AddrPort.Port() == b.AddrPort.Port()
	}
	return a == b
}

// Relevant reduces the built-in example to the services for which a socket came. A user
// who activates one service of it, perhaps at another address, does not want the other
// services to count as degraded.
func Relevant(cfg *config.Config, sockets []systemd.Socket) *config.Config {
	claims, _ := Assign(cfg.Services, sockets)
	out := *cfg
	out.Services = nil
	for _, s := range cfg.Services {
		got := *s
		got.Listen = nil
		for _, c := range claims {
			if a, err := config.ParseAddress(c.Socket.Addr); c.Service == s && err == nil {
				got.Listen = append(got.Listen, a)
			}
		}
		if len(got.Listen) > 0 {
			out.Services = append(out.Services, &got)
		}
	}
	return &out
}
