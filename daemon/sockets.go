// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/systemd"
)

// Inherited sockets are matched to services by name (FileDescriptorName=) and
// only then compared with what the file says. Order means nothing: systemd
// 252 and 257 pass the same units in different orders. A name that fits at an
// address that does not is served all the same: it is an administrator's
// drop-in to the socket unit, or a file that was edited without `penstock
// apply`, and in both cases a port that answers is better than one that hangs.
// What is listed and did not come makes the service degraded.

// A claim gives an inherited socket to a service.
type claim struct {
	service *config.Service
	socket  systemd.Socket
	listed  bool // its address is one of service.Listen
}

// unknownName stands for the names when LISTEN_FDNAMES is not set; it is what
// sd_listen_fds_with_names(3) returns then.
const unknownName = "unknown"

// assign matches sockets to services. extra are those that nobody wants.
func assign(services []*config.Service, sockets []systemd.Socket) (claims []claim, extra []systemd.Socket) {
	for _, sock := range sockets {
		s := byName(services, sock.Name)
		if s == nil && sock.Name == unknownName {
			s = byAddress(services, sock)
		}
		if s == nil {
			extra = append(extra, sock)
			continue
		}
		claims = append(claims, claim{s, sock, slices.ContainsFunc(s.Listen, func(a config.Address) bool {
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

// sameAddress compares a value of listen with what getsockname(2) said. On a
// kernel without IPv6 ListenStream=PORT is 0.0.0.0:PORT.
func sameAddress(a config.Address, bound string) bool {
	if a.Text == bound {
		return true
	}
	b, err := config.ParseAddress(bound)
	if err != nil {
		return false
	}
	if a.AddrPort.Addr() == netip.IPv6Unspecified() && b.AddrPort.Addr() == netip.IPv4Unspecified() {
		return a.AddrPort.Port() == b.AddrPort.Port()
	}
	return a == b
}

// What the administrator can do about a socket that is missing, or that is
// there and not listed. The daemon cannot see why: the file may have been edited
// without an apply, and then apply is the cure; it may as well be a port that
// somebody else has, an interface that is missing or a drop-in, and then apply
// says so.
const (
	hintMissing  = "run penstock apply, which opens it or says why not"
	hintUnlisted = "if the file was edited: penstock apply"
	hintParked   = "run penstock apply, which closes it; or take the service into the file again"
)

// hintExtra is for a socket of no service. A unit that somebody wrote without
// FileDescriptorName= passes its own name.
func hintExtra(name string) string {
	if strings.HasSuffix(name, ".socket") && !strings.HasPrefix(name, "penstock-") {
		return "set FileDescriptorName= in " + name + " to the name of a service"
	}
	return "if its service was removed from the file: penstock apply"
}

// relevant reduces the built-in example to the sockets that came: a user that
// activates it for one service, at an address of its own, has not asked for the
// others or for the tutorial's port.
func (e Env) relevant(cfg *config.Config) *config.Config {
	if !e.Builtin || !e.Managed {
		return cfg
	}
	claims, _ := assign(cfg.Services, e.Inherited.Sockets)
	out := *cfg
	out.Services = nil
	for _, s := range cfg.Services {
		got := *s
		got.Listen = nil
		for _, c := range claims {
			if a, err := config.ParseAddress(c.socket.Addr); c.service == s && err == nil {
				got.Listen = append(got.Listen, a)
			}
		}
		if len(got.Listen) > 0 {
			out.Services = append(out.Services, &got)
		}
	}
	return &out
}

// inherit gives the inherited sockets to the endpoints and closes the rest.
// A socket that nobody wants is no reason to stop: it may come from a unit
// whose service was removed from the file, and others depend on us.
func (d *Daemon) inherit(in systemd.Inherited) {
	d.log.rejected(in.Rejected)
	claims, extra := assign(d.cfg.Services, in.Sockets)
	d.strays = len(extra)+len(in.Rejected) > 0
	for _, c := range claims {
		if !c.listed {
			d.log.unlistedSocket(c.service.Name, c.socket.Addr)
		}
		ep := d.endpoints[c.service.Name]
		l := &listener{d: d, ep: ep, conf: ep.conf, fd: c.socket.FD, family: c.socket.Family, text: c.socket.Addr, inherited: true}
		l.addr, _ = config.ParseAddress(l.text)
		ep.listeners = append(ep.listeners, l)
	}
	for _, sock := range extra {
		d.log.extraSocket(sock.Name, sock.Addr)
		closeFD(sock.FD)
	}
}

// bindAll opens every address of the configuration, or none.
func (d *Daemon) bindAll() error {
	for _, s := range d.cfg.Services {
		ep := d.endpoints[s.Name]
		for _, addr := range s.Listen {
			l, err := d.openListener(ep, addr)
			if err != nil {
				return err
			}
			ep.listeners = append(ep.listeners, l)
		}
	}
	return nil
}

// openListener binds one address for ep.
func (d *Daemon) openListener(ep *endpoint, addr config.Address) (*listener, error) {
	fd, err := bind(addr, ep.conf)
	if err != nil {
		return nil, fmt.Errorf("service %s: listen on %s: %w", ep.conf.Name, addr, err)
	}
	family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		closeFD(fd)
		return nil, os.NewSyscallError("getsockopt SO_DOMAIN", err)
	}
	l := &listener{d: d, ep: ep, conf: ep.conf, fd: fd, family: family, text: addr.Text, addr: addr}
	if l.unix() && addr.Path[0] == '/' {
		if l.file, err = newSocketFile(addr.Path); err != nil {
			closeFD(fd)
			return nil, fmt.Errorf("service %s: listen on %s: %w", ep.conf.Name, addr, err)
		}
	}
	return l, nil
}

// missing returns the addresses of the service that nothing listens on.
func (ep *endpoint) missing() []config.Address {
	var out []config.Address
	for _, a := range ep.conf.Listen {
		if !slices.ContainsFunc(ep.listeners, func(l *listener) bool { return sameAddress(a, l.text) && !l.dead() }) {
			out = append(out, a)
		}
	}
	return out
}
