// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"slices"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/listen"
	"penstock/daemon/internal/report"
	"penstock/systemd"
)

// relevant returns the part of cfg that this process can serve (listen.Relevant).
func (e Env) relevant(cfg *config.Config) *config.Config {
	if e.Builtin && e.Managed {
		return listen.Relevant(cfg, e.Inherited.Sockets)
	}
	return cfg
}

// inherit gives the inherited sockets to the endpoints and closes the rest. A socket
// that no service wants is not an error, since its service may have been removed from
// the file, and the clients of the other services depend on this process.
func (d *Daemon) inherit(in systemd.Inherited) {
	report.Rejected(d.env.Log, in.Rejected)
	claims, extra := listen.Assign(d.cfg.Services, in.Sockets)
	d.strays = len(extra)+len(in.Rejected) > 0
	for _, c := range claims {
		ep := d.endpoints[c.Service.Name]
		if !c.Listed {
			ep.log.UnlistedSocket(c.Socket.Addr)
		}
		ep.listeners = append(ep.listeners, &listener{d: d, ep: ep, Socket: listen.Inherit(ep.conf, c.Socket)})
	}
	for _, sock := range extra {
		d.log.ExtraSocket(sock.Name, sock.Addr)
		closeFD(sock.FD)
	}
}

// bindAll opens every address of the configuration, or none.
func (d *Daemon) bindAll() error {
	for _, s := range d.cfg.Services {
		ep := d.endpoints[s.Name]
		for _, addr := range s.Listen {
			l := d.takeListener(ep, addr)
			var err error
			if l == nil {
				l, err = d.openListener(ep, addr)
			}
			if err != nil && d.takeover != nil {
				d.takeover.unopened = append(d.takeover.unopened, unopened{ep, addr})
				continue
			}
			if err != nil {
				return err
			}
			ep.listeners = append(ep.listeners, l)
		}
	}
	return nil
}

// takeListener returns the listener at addr that came from the former process, or nil.
func (d *Daemon) takeListener(ep *endpoint, addr config.Address) *listener {
	from, ok := d.takeover.listener(addr)
	if !ok {
		return nil
	}
	s, err := listen.Adopt(ep.conf, addr, from)
	if err != nil {
		return nil // its file is gone, so it is opened anew
	}
	return &listener{d: d, ep: ep, Socket: s}
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
