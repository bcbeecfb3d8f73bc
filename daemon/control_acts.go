// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"penstock/daemon/internal/control"
	"penstock/daemon/internal/report"
	"penstock/daemon/internal/service"
)

// What an administrator can do to a running daemon. Who that is, control_rights.go says,
// which also has each act logged. What may take long goes in portions like any answer:
//
//	Kick         looks at each client of the service once
//	Drain        closes the door; with "now" each client is finished, as at a stop
//	Resume       opens the door
//	Reload       waits for the result, and holds up nobody
//	SetLogLevel  at once
//
// A door is what a listener passes before it accepts. Two may close it, an administrator
// and the service itself when it can take nobody (service.Env.Hold), and it is open when
// neither does. Whoever comes meanwhile waits in the backlog. To accept and refuse was the
// alternative, but then no client would be there when the door opens again.

// errKicked ends a client because an administrator wants it.
var errKicked error = report.NewCause("an administrator has ended it", report.EndKicked)

// kickPortion is how many connections are looked at in a turn for those to be ended.
const kickPortion = 128

// kick ends the client of a number, or those of a service that come from a peer.
func (k *controlSocket) kick(a *asker) (func() bool, *control.Error) {
	var id uint64
	var name, peer string
	err := control.Decode(a.call.Parameters, map[string]any{"id": &id, "service": &name, "peer": &peer})
	if err == nil && (id == 0 && (name == "" || peer == "") || id != 0 && name+peer != "") {
		err = control.InvalidParameter("id")
	}
	if err == nil && peer != "" && !namesPeer(peer) {
		err = control.InvalidParameter("peer")
	}
	if err != nil {
		return nil, err
	}
	eps, err := k.d.named(name)
	if err != nil {
		return nil, err
	}
	left, kicked := k.d.clientsOf(eps), 0
	return func() bool {
		for _, one := range portion(&left, kickPortion) {
			c := k.d.loop.Conn(one)
			if c == nil || c.Closing() {
				continue
			}
			if s := service.SessionOf(c); s.ID == id || id == 0 && (s.Peer().Host() == peer || s.Peer().String() == peer) {
				c.CloseAfterFlush(controlGoodbye, errKicked)
				kicked++
			}
		}
		switch {
		case len(left) > 0:
			return false
		case id != 0 && kicked == 0:
			a.fail(control.NoSuchConnection(id))
		default:
			a.reply(control.Kicked{Kicked: kicked}, false)
		}
		return true
	}, nil
}

// namesPeer reports whether some client could be known by that text.
func namesPeer(s string) bool {
	if _, err := netip.ParseAddrPort(s); err == nil {
		return true
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	words := strings.Fields(s)
	for i, word := range words {
		if i%2 == 1 {
			if _, err := strconv.ParseUint(word, 10, 32); err != nil {
				return false
			}
		} else if want := []string{"uid", "pid"}; i > 2 || word != want[i/2] {
			return false
		}
	}
	return len(words) == 2 || len(words) == 4
}

// one returns the endpoint in force that a call names.
func (k *controlSocket) one(name string) (*endpoint, *control.Error) {
	if ep := k.d.endpoints[name]; ep != nil {
		return ep, nil
	}
	return nil, control.NoSuchService(name)
}

// drain lets nobody in any more: whoever comes waits in the backlog. With now, the clients
// that are there are finished.
func (k *controlSocket) drain(a *asker) (func() bool, *control.Error) {
	var name string
	var now bool
	err := control.Decode(a.call.Parameters, map[string]any{"service": &name, "now": &now}, "service")
	if err != nil {
		return nil, err
	}
	ep, err := k.one(name)
	if err != nil {
		return nil, err
	}
	k.d.setDrained(ep, true)
	if !now {
		a.reply(struct{}{}, false)
		return nil, nil
	}
	left := k.d.clientsOf([]*endpoint{ep})
	a.act = true
	return func() bool {
		for _, id := range portion(&left, kickPortion) {
			if c := k.d.loop.Conn(id); c != nil && !ep.retired {
				ep.finish(c, c.Input())
			}
		}
		if len(left) > 0 {
			return false
		}
		a.reply(struct{}{}, false)
		return true
	}, nil
}

// resume lets clients in again, first those that have waited.
func (k *controlSocket) resume(a *asker) (func() bool, *control.Error) {
	var name string
	if err := control.Decode(a.call.Parameters, map[string]any{"service": &name}, "service"); err != nil {
		return nil, err
	}
	ep, err := k.one(name)
	if err != nil {
		return nil, err
	}
	k.d.setDrained(ep, false)
	a.reply(struct{}{}, false)
	return nil, nil
}

// setDrained closes or opens the door of a service.
func (d *Daemon) setDrained(ep *endpoint, drained bool) {
	if drained {
		d.drained[ep.conf.Name] = true
	} else {
		delete(d.drained, ep.conf.Name)
	}
	ep.door()
	d.statusChanged()
	d.rested()
}

// closedDoors returns the names of the services in force that are drained, sorted.
func (d *Daemon) closedDoors() (names []string) {
	for _, s := range d.cfg.Services { // sorted
		if d.drained[s.Name] {
			names = append(names, s.Name)
		}
	}
	return names
}

// shut reports whether nobody is to be let in now.
func (ep *endpoint) shut() bool { return ep.holds || ep.d.drained[ep.conf.Name] }

// door has the listeners accept, or wait.
func (ep *endpoint) door() {
	for _, l := range ep.listeners {
		l.door()
	}
}

// door has the listener accept, or wait.
func (l *listener) door() {
	if l.ep.shut() {
		l.pause()
	} else {
		l.resume()
	}
}

// setLogLevel sets what is logged, until the next start, or a reload with another level.
func (k *controlSocket) setLogLevel(a *asker) (func() bool, *control.Error) {
	var word string
	if err := control.Decode(a.call.Parameters, map[string]any{"level": &word}, "level"); err != nil {
		return nil, err
	}
	var level slog.Level
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, word) || level.UnmarshalText([]byte(word)) != nil {
		return nil, control.InvalidParameter("level")
	}
	if k.d.env.Level == nil {
		return nil, control.Refused("the log of this process has no level")
	}
	k.d.env.Level.Set(level)
	a.reply(struct{}{}, false)
	return nil, nil
}

// reload has the files read again, and replies with the result.
func (k *controlSocket) reload(a *asker) (func() bool, *control.Error) {
	if err := control.Decode(a.call.Parameters, nil); err != nil {
		return nil, err
	}
	if k.d.life.phase != ready && k.d.life.phase != reloading {
		return nil, control.ErrStopping
	}
	a.parked = true
	k.d.reloadThen(func(status string, err error) {
		a.parked = false
		if a.step == nil { // it has gone, or the process ends
			return
		}
		if err != nil {
			a.fail(control.Refused(err.Error()))
		} else {
			a.reply(control.Reloaded{Status: status}, false)
		}
		a.step = nil
		a.next()
	})
	return func() bool { return false }, nil
}
