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

// A plan is what is to be done.
type plan struct {
	reasons map[string]string // why, by name of the socket
	stop    []string          // units that nobody wants any more
	restart []string          // sockets and service, in one call
	reload  bool              // the service is to read its files again
	forget  []string          // failed units that were removed
	left    map[string]string // sockets that are kept open, with why they should be restarted
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
		case h.keep && h.serves(name, want[name]) && h.lost[name] == "":
			p.left[name] = reason
		default:
			p.reasons[name] = reason
			p.restart = append(p.restart, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(h.units)) {
		p.orphan(h.units[name], want)
	}
	opens := slices.ContainsFunc(p.restart, func(name string) bool { return !want[name].other })
	closes := slices.ContainsFunc(p.stop, func(name string) bool { return !ofWeb(was[name]) })
	limits := slices.ContainsFunc([]string{unit.ServiceDropIn, unit.HandlersDropIn, unit.FilesDropIn, unit.DevicesDropIn, unit.ProxiesDropIn}, func(name string) bool {
		return atStart(was[name]) != atStart(is[name])
	})
	p.decideService(h, opens, closes || limits, len(want), unit.StartsService(is[unit.TargetDropIn]))
	p.decideMQTT(h, was[unit.MQTTDropIn], is[unit.MQTTDropIn])
	return p
}

// decideMQTT adds what is done for penstock-mqtt, of which there is a drop-in if it is to
// run. It holds no socket and reads the files when it starts, so any change restarts it.
func (p *plan) decideMQTT(h host, was, is string) {
	const name = unit.MQTTService
	active := h.units[name].Active
	switch {
	case is == "" && was != "" && active != "" && active != "inactive":
		p.reasons[name] = "removed"
		p.stop = append(p.stop, name)
	case is == "" || !h.serving():
	case atStart(was) != atStart(is):
		p.reasons[name] = "changed"
		if was == "" {
			p.reasons[name] = added
		}
		p.restart = append(p.restart, name)
	case active == "failed":
		p.reasons[name] = "has failed"
		p.restart = append(p.restart, name)
	}
}

// added is the reason for a socket that was not there at the last apply.
const added = "new"

// reason returns why a socket should be restarted, or "" if it should not. was holds
// the units with which sockets were opened; w says how this one should be now.
func (h host) reason(name string, was map[string]string, w wish) string {
	old, known := was[name]
	text := w.text
	fault, cure := h.fault(name, w)
	switch {
	case cure == harmful:
		return ""
	case !h.serving() && h.units[name].Active != "active":
		return ""
	case text != "" && !known:
		return added
	case known && text == "":
		return "replaced by the administrator's"
	case atStart(old) != atStart(text):
		return "changed"
	case h.lost[name] != "":
		return "shared its file with " + h.lost[name] + ", which is no more"
	case cure == futile:
		return ""
	}
	return fault
}

// orphan plans to stop a generated socket whose service was removed. A unit that has
// a file belongs to the administrator and is left alone.
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

// ofWeb reports whether a unit is the socket of penstock-web, and not of a service that
// is called so.
func ofWeb(text string) bool { return strings.Contains(text, "\nService="+unit.WebService+"\n") }

// decideService adds the service to what is done for its sockets. opens says that some of
// them are restarted, closes that some are stopped or its limits are other ones.
func (p *plan) decideService(h host, opens, closes bool, sockets int, atBoot bool) {
	switch {
	case opens:
		// The service is restarted even if it does not run: if it cannot start, the
		// administrator should learn that now and not when the first client comes. Also,
		// that client could start it in the middle of the restart of the sockets.
		p.restart = append(p.restart, unit.Service)
	case !h.running() && atBoot && h.serving() && sockets > 0:
		p.reasons[unit.Service] = "is to run without a client"
		p.restart = append(p.restart, unit.Service)
	case !h.running():
	case sockets == 0:
		p.stop = append(p.stop, unit.Service) // it would have nothing to serve
	case h.stale() != "":
		p.reasons[unit.Service] = "still listens on " + h.stale()
		p.restart = append(p.restart, unit.Service)
	case closes:
		// The service still holds the sockets that are being stopped and keeps their
		// ports busy. Its limits are set when it starts.
		p.restart = append(p.restart, unit.Service)
	default:
		p.reload = true
	}
}

// faults returns three lists: a line for each unit that does not listen as it should;
// the units that are not open as they should be; and the units that another restart
// may help.
func (h host) faults(want wanted, restarted []string) (lines, unopened, curable []string) {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if !h.serving() && !slices.Contains(restarted, name) {
			continue
		}
		fault, cure := h.fault(name, want[name])
		if fault == "" {
			continue
		}
		if cure == helps {
			curable = append(curable, name)
		}
		if lines = append(lines, name+": "+fault); cure != futile {
			unopened = append(unopened, name)
		}
	}
	u := h.units[unit.Service]
	if slices.Contains(restarted, unit.Service) && u.Active != "active" {
		line := fmt.Sprintf("%s: %s (%s, %s)", unit.Service, u.Active, u.Sub, u.Result)
		if u.Status != "" {
			line += ": " + u.Status
		}
		lines, unopened, curable = append(lines, line), append(unopened, unit.Service), append(curable, unit.Service)
	}
	if u := h.units[unit.MQTTService]; u.Active == "failed" && slices.Contains(restarted, u.ID) {
		lines = append(lines, u.ID+": failed ("+u.Result+")")
	}
	return lines, unopened, curable
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
