// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Some keys are about TCP clients and some about Unix sockets. A key that has no
// effect on any address in listen gets a warning, because the service may be more
// open than the file says. It is not a mistake: 0.1.0 served such a service, and an
// upgrade must not close its ports. Only allow_uid without a Unix socket was a
// mistake in 0.1.0 already. A key that has its default value needs no warning.

var (
	errNoUnix    = errors.New("has no effect: no address in listen is a Unix socket")
	errNoTCP     = errors.New("has no effect: every address in listen is a Unix socket")
	errNoFile    = errors.New("has no effect: no address in listen is a socket in the file system")
	errHalfFiles = errors.New("does not hold for the abstract sockets in listen, which have no file and are open to everybody here; say in allow_uid who may")
	errEverybody = errors.New("lets everybody announce any address as its own; list the addresses of the proxies")
	errHalfUsers = errors.New("does not hold for the TCP addresses in listen, where everybody may connect; " +
		"say in allow or deny who may (everybody: [\"0.0.0.0/0\", \"::/0\"])")
)

func (b *builder) checkFamilies(d described) {
	listed, _ := d.at["listen"].value.([]any)
	if len(listed) == 0 || len(d.Listen) != len(listed) {
		return // an address that cannot be read may be of either family
	}
	families := d.Families()
	abstract := slices.ContainsFunc(d.Listen, Address.abstract)
	file := slices.ContainsFunc(d.Listen, func(a Address) bool { return a.Network == "unix" && !a.abstract() })
	for _, k := range SocketKeys {
		if _, set := d.at[k.name]; !set {
			continue // and before the defaults are made to compare with, at every start
		}
		switch {
		case slices.Equal(k.Text(d.Service), k.Text(newService("", d.Kind, Limits{}))):
		case k.For&families == 0:
			b.warn(d.where(k.name), noEffect(k.For))
		case k.For == Unix && !file:
			b.warn(d.where(k.name), errNoFile)
		case k.For == Unix && abstract && len(d.AllowUID) == 0:
			b.warn(d.where(k.name), errHalfFiles)
		}
	}
	b.checkProxies(d, families)
	restrictsTCP := !d.Allow.Empty() || !d.Deny.Empty()
	switch {
	case len(d.AllowUID) > 0 && families == TCP:
		b.wrong(d.where("allow_uid"), noEffect(Unix))
	case len(d.AllowUID) > 0 && families == TCP|Unix && !restrictsTCP:
		b.warn(d.where("allow_uid"), errHalfUsers)
	case restrictsTCP && families == Unix && !d.AcceptProxy.Unix: // what is announced is an address
		for key, list := range map[string]Sources{"allow": d.Allow, "deny": d.Deny} {
			if !list.Empty() {
				b.warn(d.where(key), noEffect(TCP))
			}
		}
	}
}

// checkProxies is about accept_proxy. The addresses in it say who is a proxy, and those in
// allow and deny who may be its client.
func (b *builder) checkProxies(d described, families Family) {
	p := d.AcceptProxy
	switch {
	case p.Unix && families == TCP:
		b.warn(d.where("accept_proxy"), fmt.Errorf("%q %w", unixPeers, errNoUnix))
	case len(p.Prefixes) > 0 && families == Unix:
		b.warn(d.where("accept_proxy"), fmt.Errorf("%s %w", p.Prefixes[0], errNoTCP))
	case slices.ContainsFunc(p.Prefixes, func(p netip.Prefix) bool { return p.Bits() == 0 }):
		b.warn(d.where("accept_proxy"), errEverybody)
	}
}

// noEffect returns the warning about a key that has an effect only on addresses of
// family.
func noEffect(family Family) error {
	if family == Unix {
		return errNoUnix
	}
	return errNoTCP
}
