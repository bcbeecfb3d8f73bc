// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
)

// The table [web] is for the companion penstock-web, a program of its own that reads the
// same files. The daemon itself does nothing with it. It is here and not in a file of the
// companion, so that one check finds all mistakes, and two programs that want one port.

// A Web is the table [web].
type Web struct {
	Listen       []Address
	Services     []string       // that a browser may become a client of
	Hosts        []string       // names, in lower case, by which browsers know the machine
	Allow        []netip.Prefix // who may ask, beside this machine; see Web.Admits
	PasswordFile string         // an absolute path; "": no password is asked for
}

// WebName is the name of the socket of penstock-web, by which no service can be called
// beside it.
const WebName = "web"

// NoPassword is what penstock-web gets in the place of a password's file that the service
// manager cannot read. It would else not be started at all, and could say nothing.
const NoPassword = "unreadable"

// webPort is what nothing else is known for; 8377 has no entry at IANA.
const webPort = "127.0.0.1:8377"

func defaultWeb() *Web {
	a, err := ParseAddress(webPort)
	if err != nil {
		panic(err) // part of the program
	}
	return &Web{Listen: []Address{a}}
}

var webKeys = []key[Web]{
	{"listen", func(w *Web, v any) (err error) { w.Listen, err = addresses(v); return err }},
	{"services", into(func(w *Web) *[]string { return &w.Services }, texts)},
	{"hosts", into(func(w *Web) *[]string { return &w.Hosts }, hostNames)},
	{"allow", into(func(w *Web) *[]netip.Prefix { return &w.Allow }, networks)},
	{"password_file", into(func(w *Web) *string { return &w.PasswordFile }, fileName)},
}

// Admits reports whether a client at addr may ask; the zero value stands for one on a Unix
// socket, whose file says who may connect. This machine always may. Without a list nobody
// else may, unless a password is asked for.
func (w *Web) Admits(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	switch {
	case !addr.IsValid(), addr.IsLoopback():
		return true
	case len(w.Allow) == 0:
		return w.PasswordFile != ""
	}
	return match(w.Allow, addr) >= 0
}

// hostNames takes names of the machine, without a port.
func hostNames(v any) ([]string, error) {
	list, err := texts(v)
	errs := problemsOf(err)
	for i, s := range list {
		list[i] = strings.ToLower(strings.TrimSuffix(s, ".")) // as the gate looks for it
		if list[i] == "" || len(s) > 253 || strings.Trim(list[i], "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" {
			errs.add(fmt.Errorf("%q is not the name of a host, such as board.local", s))
		}
	}
	return list, errs.err()
}

// networks takes networks, without the word local-subnets: the companion has no socket to
// ask the machine for its networks.
func networks(v any) ([]netip.Prefix, error) {
	sources, err := parseSources(v)
	errs := problemsOf(err)
	if sources.LocalSubnets {
		errs.add(fmt.Errorf("%q is only for services; name the network, such as \"192.168.1.0/24\"", localSubnets))
	}
	return sources.Prefixes, errs.err()
}

// apart is what the files say of a companion. It is dropped if it is broken: it has a
// mistake, or may lack a part.
type apart struct {
	entries []entry
	broken  bool
}

// unread notes that a text may have had more of the companions' tables.
func (b *builder) unread() { b.web.broken, b.mqtt.broken = true, true }

// dropBroken drops the tables of companions that have a mistake.
func (b *builder) dropBroken(c *Config) {
	if b.web.broken {
		c.Web = nil
	}
	if b.mqtt.broken {
		c.MQTT = nil
	}
}

// withWeb makes the table of its entries, and returns all that listens: the services, and
// penstock-web behind them. If there is a mistake in the table, or a text that could have
// more of it, half of it could let in more than the whole; the caller drops it then.
func (b *builder) withWeb(c *Config, services []described) []described {
	if len(b.web.entries) == 0 {
		return services
	}
	c.Web = defaultWeb()
	at := map[string]entry{}
	for _, e := range b.web.entries {
		if _, ok := at[e.key]; !ok || e.key != "" {
			at[e.key] = e
		}
		if e.key != "" {
			setKey(b, webKeys, c.Web, e)
		}
	}
	d := described{&Service{Name: WebName, Listen: c.Web.Listen}, at}
	b.checkWeb(c.Web, d)
	for _, of := range services {
		if slices.Contains(c.Web.Services, of.Name) && len(of.AllowUID) > 0 {
			b.wrong(d.where("services"), fmt.Errorf("%q lets users in by allow_uid, and a browser does not say whose it is", of.Name))
		}
	}
	return append(slices.Clip(services), d)
}

func (b *builder) checkWeb(w *Web, d described) {
	if b.named[WebName] {
		b.wrong(d.at[""], errors.New("cannot be there beside a service of that name, which has the same socket unit"))
	}
	for _, name := range w.Services {
		if !b.named[name] {
			b.wrong(d.where("services"), fmt.Errorf("there is no service %q", name))
		}
	}
	for _, a := range w.Listen {
		if _, own := ownFolder(a.realPath()); own || a.realPath() == ControlPath {
			b.wrong(d.where("listen"), fmt.Errorf("%q: is a place of the daemon", a.Text))
		}
		if a.Network == "tcp" && !a.AddrPort.Addr().IsLoopback() && len(w.Allow) == 0 && w.PasswordFile == "" {
			b.wrong(d.where("listen"), fmt.Errorf("%q can be reached from other machines: say in allow which, or set password_file", a.Text))
		}
	}
	if w.PasswordFile != "" && !filepath.IsAbs(w.PasswordFile) {
		w.PasswordFile = filepath.Join(filepath.Dir(d.where("password_file").file), w.PasswordFile)
	}
}
