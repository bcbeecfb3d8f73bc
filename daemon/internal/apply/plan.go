// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"penstock/daemon/internal/systemctl"
	"penstock/daemon/internal/unit"
)

// A host is what was found out about the machine at one moment. It is data,
// so that every decision below can be tested without one.
type host struct {
	units     map[string]systemctl.Unit // by name
	listeners listeners
	manager   map[uint64]bool // sockets PID 1 holds; nil: it may not be asked
	service   map[uint64]bool // sockets the service holds; nil: it does not run, or may not be asked
	keep      bool            // no port that is served may be closed
}

// wanted are the socket units that should listen, by name; the text is that
// of the generated unit, "" for an administrator's own.
type wanted map[string]string

// running reports whether the service has a process.
func (h host) running() bool { return h.units[unit.Service].MainPID != 0 }

// serving reports whether the sockets are meant to listen at all: the
// administrator's word is given by starting and stopping the target.
func (h host) serving() bool { return h.units[unit.Target].Active == "active" }

// serves reports whether clients of the socket are answered at one of its
// addresses, or at least.
func (h host) serves(name string) bool {
	return slices.ContainsFunc(h.units[name].Listen, func(address string) bool {
		inodes, _ := h.listeners.at(address)
		return heldAny(h.manager, inodes) && (!h.running() || heldAny(h.service, inodes))
	})
}

// fault says what is wrong with a socket that should listen, or "", and
// whether it is to be restarted for it.
func (h host) fault(name string) (fault string, curable bool) {
	fault, curable = h.ailment(name)
	return fault, curable && (fault == "" || !h.keep || !h.serves(name))
}

// ailment is fault without a thought of what a restart would close. It cures
// everything but a port that somebody else has.
func (h host) ailment(name string) (fault string, curable bool) {
	u := h.units[name]
	for _, address := range u.Listen {
		inodes, _ := h.listeners.at(address)
		if len(inodes) == 0 && u.Active == "failed" {
			// Who listens on all addresses has this one too. Only after a failure,
			// since on another interface he would be in nobody's way.
			inodes = h.listeners.overlapping(address)
		}
		if h.taken(inodes) {
			return address + " is taken by another program", false
		}
	}
	switch {
	case u.Active == "failed":
		return "failed (" + u.Result + ")", true
	case u.Active != "active":
		return "not active", true
	}
	for _, address := range u.Listen {
		inodes, ok := h.listeners.at(address)
		switch {
		case !ok:
			// of a kind that only a drop-in of the administrator can have
		case !heldAny(h.manager, inodes):
			return "does not listen on " + address, true
		case h.running() && !heldAny(h.service, inodes):
			return "not passed to " + unit.Service, true
		}
	}
	return "", true
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

// A plan is what is to be done.
type plan struct {
	reasons map[string]string // why, by name of the socket
	stop    []string          // units that nobody wants any more
	restart []string          // sockets and service, in one call
	reload  bool              // the service is to read its files again
	forget  []string          // failed units that are no more
	left    map[string]string // why a socket should be restarted that is kept open
}

// decide compares the units with which the sockets were opened with those that
// the generator has written now, and both with what the machine does.
func decide(before, now []unit.File, want wanted, h host) plan {
	p := plan{reasons: map[string]string{}, left: map[string]string{}}
	was, is := texts(before), texts(now)
	for _, name := range slices.Sorted(maps.Keys(want)) {
		reason := h.reason(name, was, want[name])
		switch {
		case reason == "":
		case h.keep && h.serves(name):
			p.left[name] = reason
		default:
			p.reasons[name] = reason
			p.restart = append(p.restart, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(h.units)) {
		p.orphan(h.units[name], want)
	}
	limits := slices.ContainsFunc([]string{unit.ServiceDropIn, unit.HandlersDropIn}, func(name string) bool {
		return atStart(was[name]) != atStart(is[name])
	})
	p.decideService(h, limits, len(want))
	return p
}

// added is the reason for a socket that was not there at the last apply.
const added = "new"

// reason says why a socket should be restarted that was opened with one of the
// units in was and is to be as text says; "": it should not.
func (h host) reason(name string, was map[string]string, text string) string {
	old, known := was[name]
	fault, curable := h.fault(name)
	switch {
	case !curable:
		return "" // closing what it has would only make it worse
	case !h.serving() && h.units[name].Active != "active":
		return ""
	case text != "" && !known:
		return added
	case known && text == "":
		return "replaced by the administrator's"
	case atStart(old) != atStart(text):
		return "changed"
	}
	return fault
}

// orphan stops what was generated and is no more. A unit that has a file is
// the administrator's, whatever the configuration says.
func (p *plan) orphan(u systemctl.Unit, want wanted) {
	ours, _ := path.Match(unit.SocketName("*"), u.ID)
	if _, ok := want[u.ID]; ok || !ours && u.ID != unit.ErrorReport || u.Load != "not-found" {
		return
	}
	switch u.Active {
	case "inactive":
	case "failed":
		p.forget = append(p.forget, u.ID)
	default:
		p.reasons[u.ID] = "removed"
		p.stop = append(p.stop, u.ID)
	}
}

// decideService adds the service to what is done for the sockets.
func (p *plan) decideService(h host, limits bool, sockets int) {
	switch {
	case len(p.restart) > 0:
		// Also if it does not run: whether it can is better known now than
		// when the first client comes, who could also start it halfway
		// through the restart of the sockets.
		p.restart = append(p.restart, unit.Service)
	case !h.running():
	case sockets == 0:
		p.stop = append(p.stop, unit.Service) // it would have nothing to serve
	case h.stale() != "":
		p.reasons[unit.Service] = "still listens on " + h.stale()
		p.restart = append(p.restart, unit.Service)
	case len(p.stop) > 0 || limits:
		// It will still hold the sockets that are being stopped, and keep their
		// ports busy; its limits are set when it starts.
		p.restart = append(p.restart, unit.Service)
	default:
		p.reload = true
	}
}

// faults returns what is wrong with what should listen, a line for each unit,
// the names of those, and of the ones that another restart may help.
func (h host) faults(want wanted, restarted []string) (lines, names, curable []string) {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if !h.serving() && !slices.Contains(restarted, name) {
			continue
		}
		fault, canHelp := h.fault(name)
		if fault == "" {
			continue
		}
		lines, names = append(lines, name+": "+fault), append(names, name)
		if canHelp {
			curable = append(curable, name)
		}
	}
	u := h.units[unit.Service]
	if slices.Contains(restarted, unit.Service) && u.Active != "active" {
		line := fmt.Sprintf("%s: %s (%s, %s)", unit.Service, u.Active, u.Sub, u.Result)
		if u.Status != "" {
			line += ": " + u.Status
		}
		lines, names, curable = append(lines, line), append(names, unit.Service), append(curable, unit.Service)
	}
	return lines, names, curable
}

// texts returns the files by name.
func texts(files []unit.File) map[string]string {
	m := make(map[string]string, len(files))
	for _, f := range files {
		m[f.Name] = f.Text
	}
	return m
}

// atStart returns the part of a unit that takes effect when it is started; the
// section [Unit] is in force after a daemon-reload. Without the distinction an
// upgrade to a version that writes another comment would close every port.
func atStart(text string) string {
	for _, section := range []string{"[Socket]\n", "[Service]\n"} {
		if _, after, ok := strings.Cut(text, section); ok {
			return after
		}
	}
	return text
}
