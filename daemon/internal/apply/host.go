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

// A host is the state of the machine at one moment. It is plain data, so that every
// decision below can be tested without a machine.
type host struct {
	units      map[string]systemctl.Unit // by name
	listeners  listeners
	owned      map[string]bool   // paths of Unix sockets that have the file there
	manager    map[uint64]bool   // sockets PID 1 holds; nil: it may not be asked
	service    map[uint64]bool   // sockets the service holds; nil: it does not run, or may not be asked
	interfaces map[string]string // of the network, their numbers by name; nil: not known
	lost       map[string]string // files that sockets share with a removed socket, by name of the socket
	keep       bool              // no port that is served may be closed
}

// A wish is a socket that should listen. It is zero for one that the
// administrator describes in a unit of his own.
type wish struct {
	text   string           // of the generated unit
	listen []config.Address // what the file lists
	other  bool             // it is passed to a companion, and not to penstock.service
}

// wanted are the socket units that should listen, by name.
type wanted map[string]wish

// running reports whether the service has a process.
func (h host) running() bool { return h.units[unit.Service].MainPID != 0 }

// serving reports whether the sockets should listen at all. The administrator decides
// that by starting or stopping the target.
func (h host) serving() bool { return h.units[unit.Target].Active == "active" }

// served reports whether clients are answered at the address: PID 1 listens there,
// and if the service runs, it has the socket, unless that is a companion's.
func (h host) served(address string, other bool) bool {
	inodes, _ := h.listeners.at(address)
	return heldAny(h.manager, inodes) && (other || !h.running() || heldAny(h.service, inodes))
}

// serves reports whether clients of the socket are answered at one of its addresses
// at least.
func (h host) serves(name string, w wish) bool {
	return slices.ContainsFunc(h.addresses(name, w), func(address string) bool { return h.served(address, w.other) })
}

// addresses returns where a socket should listen: the addresses in the file, and
// those that a drop-in of the administrator adds. The manager's list alone is not
// enough, because the manager leaves out what it cannot parse.
func (h host) addresses(name string, w wish) []string {
	all := slices.Clone(h.units[name].Listen)
	for _, a := range w.listen {
		if h.parsed(name, a) == "" {
			all = append(all, a.Text)
		}
	}
	return all
}

// parsed returns the manager's spelling of an address of the file, or "" if the
// manager has left it out. On a kernel without IPv6 it writes 0.0.0.0 for [::].
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
	futile       // it changes nothing
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

// ailment is fault for a caller that may close served addresses.
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
		case !w.other && h.running() && !heldAny(h.service, inodes):
			return "not passed to " + unit.Service, helps
		}
	}
	return left, futile
}

// inTheWay returns the sockets that may keep ours from listening at an address. If
// ours has failed, they include sockets that listen on all addresses. If it has not,
// those do not count, since they may listen on another interface.
func (h host) inTheWay(address string, failed bool) []uint64 {
	inodes, _ := h.listeners.at(address)
	if len(inodes) == 0 && failed {
		inodes = h.listeners.overlapping(address)
	}
	return inodes
}

// leftOut returns an address of the file that the manager has left out of the unit
// and that nobody serves, with the reason; or "".
func (h host) leftOut(name string, w wish) string {
	for _, a := range w.listen {
		if h.parsed(name, a) != "" || h.served(a.Text, w.other) {
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
