// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"slices"
	"strings"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/listen"
	"penstock/systemd"
)

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

// relevant is the configuration as far as it can be served here.
func (e Env) relevant(cfg *config.Config) *config.Config {
	if e.Builtin && e.Managed {
		return listen.Relevant(cfg, e.Inherited.Sockets)
	}
	return cfg
}

// inherit gives the inherited sockets to the endpoints and closes the rest.
// A socket that nobody wants is no reason to stop: it may come from a unit
// whose service was removed from the file, and others depend on us.
func (d *Daemon) inherit(in systemd.Inherited) {
	d.log.rejected(in.Rejected)
	claims, extra := listen.Assign(d.cfg.Services, in.Sockets)
	d.strays = len(extra)+len(in.Rejected) > 0
	for _, c := range claims {
		if !c.Listed {
			d.log.unlistedSocket(c.Service.Name, c.Socket.Addr)
		}
		ep := d.endpoints[c.Service.Name]
		ep.listeners = append(ep.listeners, &listener{d: d, ep: ep, Socket: listen.Inherit(ep.conf, c.Socket)})
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
	s, err := listen.Open(ep.conf, addr)
	if err != nil {
		return nil, err
	}
	return &listener{d: d, ep: ep, Socket: s}, nil
}

// missing returns the addresses of the service that nothing listens on.
func (ep *endpoint) missing() []config.Address {
	var out []config.Address
	for _, a := range ep.conf.Listen {
		if !slices.ContainsFunc(ep.listeners, func(l *listener) bool { return l.At(a) && !l.dead() }) {
			out = append(out, a)
		}
	}
	return out
}
