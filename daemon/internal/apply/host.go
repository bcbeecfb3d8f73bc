// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/systemctl"
	"penstock/daemon/internal/unit"
)

// A host is what was found out about the machine at one moment. It is data,
// so that every decision below can be tested without a machine.
type host struct {
	units      map[string]systemctl.Unit // by name
	listeners  listeners
	manager    map[uint64]bool   // sockets PID 1 holds; nil: it may not be asked
	service    map[uint64]bool   // sockets the service holds; nil: it does not run, or may not be asked
	interfaces map[string]string // of the network, their numbers by name; nil: not known
	lost       map[string]string // files that sockets share with one that is no more, by name of the socket
	keep       bool              // no port that is served may be closed
}

// A wish is a socket that should listen. It is zero for one that the
// administrator describes in a unit of his own.
type wish struct {
	text   string           // of the generated unit
	listen []config.Address // what the file lists
}

// wanted are the socket units that should listen, by name.
type wanted map[string]wish

// running reports whether the service has a process.
func (h host) running() bool { return h.units[unit.Service].MainPID != 0 }

// serving reports whether the sockets are meant to listen at all: the
// administrator says so by starting and stopping the target.
func (h host) serving() bool { return h.units[unit.Target].Active == "active" }

// served reports whether clients find somebody at the address: PID 1 listens
// there, and if the service runs it was given the socket.
func (h host) served(address string) bool {
	inodes, _ := h.listeners.at(address)
	return heldAny(h.manager, inodes) && (!h.running() || heldAny(h.service, inodes))
}

// serves reports whether clients of the socket are answered at one of its
// addresses, or at least.
func (h host) serves(name string, w wish) bool {
	return slices.ContainsFunc(h.addresses(name, w), h.served)
}

// addresses are those where a socket should listen: what the file lists, and
// what a drop-in of the administrator adds. The manager's list alone will not
// do, as it silently leaves out what it cannot parse.
func (h host) addresses(name string, w wish) []string {
	all := slices.Clone(h.units[name].Listen)
	for _, a := range w.listen {
		if h.parsed(name, a) == "" {
			all = append(all, a.Text)
		}
	}
	return all
}

// parsed returns how the manager spells an address of the file, or "" if it
// has not taken it. On a kernel without IPv6 it has 0.0.0.0 in place of [::].
func (h host) parsed(name string, a config.Address) string {
	for _, text := range h.units[name].Listen {
		b, err := config.ParseAddress(text)
		if err != nil {
			continue
		}
		x, y := a.AddrPort.Addr(), b.AddrPort.Addr()
		wild := x == netip.IPv6Unspecified() && y == netip.IPv4Unspecified() && a.AddrPort.Port() == b.AddrPort.Port()
		zones := a.Network == "tcp" && h.index(x.Zone()) == h.index(y.Zone()) &&
			netip.AddrPortFrom(x.WithZone(""), a.AddrPort.Port()) == netip.AddrPortFrom(y.WithZone(""), b.AddrPort.Port())
		if a == b || wild || zones {
			return text
		}
	}
	return ""
}

// index returns the number of a network interface, which may be spelled as a
// number already.
func (h host) index(zone string) string {
	if n, ok := h.interfaces[zone]; ok {
		return n
	}
	return zone
}

// A cure tells what a restart does for a socket.
type cure uint8

const (
	helps   cure = iota
	futile       // neither good nor harm
	harmful      // it closes what is open, and opens nothing
)

// fault says what is wrong with a socket that should listen, or "", and
// whether it is to be restarted for it.
func (h host) fault(name string, w wish) (string, cure) {
	fault, cure := h.ailment(name, w)
	if fault != "" && h.keep && h.serves(name, w) {
		cure = harmful
	}
	return fault, cure
}

// ailment is fault without regard to the served addresses that a restart would
// close.
func (h host) ailment(name string, w wish) (string, cure) {
	u, addresses := h.units[name], h.addresses(name, w)
	for _, address := range addresses {
		if h.taken(h.inTheWay(address, u.Active == "failed")) {
			return address + " is taken by another program", harmful
		}
	}
	left := h.leftOut(name, w)
	switch {
	case left != "" && len(u.Listen) == 0:
		return left, harmful // the unit lists nothing, and does not start
	case u.Active == "failed":
		return "failed (" + u.Result + ")", helps
	case u.Active != "active":
		return "not active", helps
	}
	for _, address := range u.Listen {
		inodes, ok := h.listeners.at(address)
		switch {
		case !ok:
			// of a kind that only a drop-in of the administrator can have
		case !heldAny(h.manager, inodes):
			return "does not listen on " + address, helps
		case h.running() && !heldAny(h.service, inodes):
			return "not passed to " + unit.Service, helps
		}
	}
	return left, futile
}

// inTheWay returns the sockets at an address. After a failure those count that
// listen on all addresses, and so on this one too; not before, since on another
// interface they would be in nobody's way.
func (h host) inTheWay(address string, failed bool) []uint64 {
	inodes, _ := h.listeners.at(address)
	if len(inodes) == 0 && failed {
		inodes = h.listeners.overlapping(address)
	}
	return inodes
}

// leftOut names an address of the file that the manager has not taken from the
// unit and nobody serves, with the reason, or returns "".
func (h host) leftOut(name string, w wish) string {
	for _, a := range w.listen {
		if h.parsed(name, a) != "" || h.served(a.Text) {
			continue
		}
		if zone := a.AddrPort.Addr().Zone(); zone != "" && h.interfaces != nil && !h.known(zone) {
			return fmt.Sprintf("%s: there is no network interface %s; once there is: penstock apply", a, zone)
		}
		return fmt.Sprintf("%s is not in the unit as systemd reads it, see: systemctl cat %s", a, name)
	}
	return ""
}

// known reports whether there is an interface of that name or number.
func (h host) known(zone string) bool {
	_, ok := h.interfaces[zone]
	return ok || slices.Contains(slices.Collect(maps.Values(h.interfaces)), zone)
}

// taken reports whether there are sockets, and all are somebody else's.
func (h host) taken(inodes []uint64) bool {
	return len(inodes) > 0 && h.manager != nil && !heldAny(h.manager, inodes) && (h.service == nil || !heldAny(h.service, inodes))
}

// heldAny reports whether one of the sockets is held. Without knowledge of the
// holder it is enough that there is a socket.
func heldAny(held map[uint64]bool, inodes []uint64) bool {
	return slices.ContainsFunc(inodes, func(n uint64) bool { return held == nil || held[n] })
}

// stale returns an address where only the service still listens: a socket that
// was masked, moved or removed and stays open until the service restarts.
func (h host) stale() string {
	if h.manager == nil {
		return ""
	}
	for _, address := range slices.Sorted(maps.Keys(h.listeners)) {
		for _, n := range h.listeners[address] {
			if h.service[n] && !h.manager[n] {
				return address
			}
		}
	}
	return ""
}
