// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/report"
)

// A reload is a transaction. The files are read and checked on a goroutine. Then the
// stage makes everything that can fail: services and sockets. Only after that does
// commit swap. If anything fails before, the old configuration stays in force.
//
//	file ──► diff ──► stage ──► commit ──► start
//	           │        │                   └─ programs: each when the one that it
//	           │        │                      replaces has ended
//	           │        └─ undo: close what was opened, open what was closed
//	           └─ by service: unchanged, adjusted, replaced, added, removed
//
// Clients stay: the service that they have goes on with its new keys (adjust.go). Only
// one of another kind, or with another delimiter, is replaced, and one that is gone is
// removed; their clients are finished.
//
// The alternative was to restart on each change. That would end connections of
// services that did not change.

// changes are the difference between two configurations.
type changes struct {
	added     []*config.Service
	removed   []*config.Service // in their old form
	replaced  []*config.Service // the kind or the delimiter has changed
	adjusted  []*config.Service // other keys have changed
	unchanged int
}

func diff(old, next *config.Config) (p changes) {
	before := make(map[string]*config.Service)
	for _, s := range old.Services {
		before[s.Name] = s
	}
	for _, s := range next.Services {
		was := before[s.Name]
		delete(before, s.Name)
		switch {
		case was == nil:
			p.added = append(p.added, s)
		case was.SameAs(s):
			p.unchanged++
		case was.Continues(s):
			p.adjusted = append(p.adjusted, s)
		default:
			p.replaced = append(p.replaced, s)
		}
	}
	for _, s := range old.Services {
		if before[s.Name] != nil {
			p.removed = append(p.removed, s)
		}
	}
	return p
}

// loaded finishes the reload with the configuration that was read, or with an error.
func (d *Daemon) loaded(cfg *config.Config, err error) {
	if d.life.phase != reloading {
		return // the daemon stops meanwhile
	}
	if errors.Is(err, errReadAgain) {
		d.advance(reloaded) // another reload is owed, and its result will be told
		return
	}
	if err == nil {
		err = d.putInForce(d.env.relevant(cfg))
	}
	d.refusal = err
	if err != nil {
		d.log.NotApplied(err)
	} else {
		d.inForce()
	}
	d.tellResult(err)
	d.advance(reloaded)
}

// inForce is called when the files that were read are in force.
func (d *Daemon) inForce() {
	d.restored = nil
	if d.env.Applied != nil {
		d.env.Applied()
	}
}

// putInForce serves cfg from now on, or changes nothing and says why.
func (d *Daemon) putInForce(cfg *config.Config) error {
	p := diff(d.cfg, cfg)
	connections, err := fitConnections(cfg)
	if err != nil {
		return err
	}
	st := &stage{d: d, made: make(map[string]*endpoint)}
	if err := st.prepare(p, cfg); err != nil {
		st.undo()
		return err
	}
	if connections < cfg.Limits.Connections {
		d.log.FewerConnections(cfg.Limits.Connections, connections)
	}
	d.places = connections
	d.setLimits(connections, cfg)
	limitMemory(cfg)
	if cfg.Loop != d.cfg.Loop {
		d.log.LoopUnchanged()
	}
	d.log.SetPeers(cfg.Log.Peers)
	if d.env.Level != nil {
		d.env.Level.Set(cfg.Log.Level)
	}
	d.log.Warned(cfg.Warnings)
	st.commit(p, cfg)
	d.log.Applied(report.Changes{
		Added: len(p.added), Removed: len(p.removed), Replaced: len(p.replaced),
		Adjusted: len(p.adjusted), Unchanged: p.unchanged,
	})
	return nil
}

// A stage holds what a reload has made and opened before it is in force.
type stage struct {
	d       *Daemon
	made    map[string]*endpoint // of added and replaced services
	opened  []*listener
	vacated []*listener // listeners of our own, closed because a new address overlaps
}

// prepare makes the new services and, unless the service manager does that,
// opens the addresses that nobody listens on yet.
func (st *stage) prepare(p changes, cfg *config.Config) error {
	for _, s := range slices.Concat(p.added, p.replaced) {
		ep, err := st.d.newEndpoint(s)
		if err != nil {
			return err
		}
		st.made[s.Name] = ep
	}
	if st.d.env.Managed {
		return nil
	}
	// Unchanged services are looked at too: the file of their Unix socket may have
	// been removed, and a listener may be dead.
	works := make(map[config.Address]bool)
	for _, l := range st.d.listeners() {
		works[l.Addr] = works[l.Addr] || !l.dead() && !l.Unreachable()
	}
	for _, s := range cfg.Services {
		for _, a := range s.Listen {
			if works[a] {
				continue
			}
			if err := st.open(s, a, cfg); err != nil {
				return err
			}
		}
	}
	return nil
}

// open binds a for s. It may overlap an address in use, as 0.0.0.0:7000 overlaps
// 127.0.0.1:7000. Then it can be bound only after that listener is closed. open
// closes it if it is dead or the new configuration does not list it.
func (st *stage) open(s *config.Service, a config.Address, cfg *config.Config) error {
	ep := &endpoint{conf: s} // stands in until commit
	l, err := st.d.openListener(ep, a)
	if errors.Is(err, unix.EADDRINUSE) {
		for _, old := range st.d.listeners() {
			if !old.Inherited && a.Overlaps(old.Addr) && (old.dead() || !listed(cfg, old.Addr)) {
				old.close()
				st.vacated = append(st.vacated, old)
			}
		}
		if len(st.vacated) > 0 {
			l, err = st.d.openListener(ep, a)
		}
	}
	if err != nil {
		return err
	}
	st.opened = append(st.opened, l)
	return nil
}

func listed(cfg *config.Config, a config.Address) bool {
	return slices.ContainsFunc(cfg.Services, func(s *config.Service) bool { return slices.Contains(s.Listen, a) })
}

// undo closes the listeners that were opened and opens those that were closed.
func (st *stage) undo() {
	for _, l := range st.opened {
		l.close()
	}
	for _, old := range st.vacated {
		again, err := st.d.openListener(old.ep, old.Addr)
		if err == nil {
			*old = *again
			err = old.arm()
		} else {
			old.ln, old.FD = nil, -1 // it is closed already
		}
		if err != nil {
			old.ep.log.ListenerFailed(old.Text, err)
		}
	}
}

// commit swaps. Listeners that stay open are pointed to the endpoints that serve
// their clients now, so no client finds a port closed.
func (st *stage) commit(p changes, cfg *config.Config) {
	d := st.d
	open := slices.Concat(d.listeners(), st.opened)
	open = slices.DeleteFunc(open, func(l *listener) bool { return slices.Contains(st.vacated, l) })
	old := d.endpoints
	d.cfg, d.endpoints, d.parked = cfg, make(map[string]*endpoint), make(map[string][]*listener)
	for _, s := range cfg.Services {
		ep := st.made[s.Name]
		if ep == nil {
			ep = old[s.Name]
			delete(old, s.Name)
			ep.adjust(s)
		}
		ep.listeners = nil
		d.endpoints[s.Name] = ep
	}
	st.rehome(open)
	for _, s := range p.replaced {
		st.made[s.Name].succeed(old[s.Name])
	}
	for _, s := range p.adjusted {
		d.endpoints[s.Name].adjustClients()
	}
	for _, s := range slices.Concat(p.added, p.replaced) {
		st.made[s.Name].start()
	}
	for _, ep := range d.ordered() {
		d.armAll(ep)
	}
	for _, s := range slices.Concat(p.removed, p.replaced) {
		old[s.Name].retire()
	}
	// A service of the same name that comes later is another one.
	maps.DeleteFunc(d.drained, func(name string, _ bool) bool { return d.endpoints[name] == nil })
}

// rehome finds a service for each open listener. It closes one whose address the stage
// has opened anew, because the listener was dead or could not be reached.
func (st *stage) rehome(open []*listener) {
	successors := make(map[config.Address]*listener, len(st.opened))
	for _, l := range st.opened {
		successors[l.Addr] = l
	}
	wants := st.d.wants()
	for _, l := range open {
		if s := successors[l.Addr]; !l.Inherited && s != nil && s != l {
			l.close()
			continue
		}
		st.d.rehome(l, wants)
	}
}

// rehome gives an open listener to the service that wants it now. Inherited
// listeners are matched by name. If no service wants one, it is parked and not
// closed, since it could not be opened again: a service that was removed by mistake
// can come back with the next reload.
func (d *Daemon) rehome(l *listener, wants map[config.Address]*endpoint) {
	var to *endpoint
	name := l.ep.conf.Name
	if l.Inherited {
		to = d.endpoints[name]
	} else {
		to = wants[l.Addr]
	}
	switch {
	case to != nil:
		for _, key := range l.ChangedKeys(to.conf) {
			to.log.NeedsRestart(l.Text, key)
		}
		l.ep = to
		to.listeners = append(to.listeners, l)
		l.door()
	case l.Inherited:
		l.pause()
		l.ep.log.ParkedSocket(l.Text)
		d.parked[name] = append(d.parked[name], l)
	default:
		l.close()
	}
}

// wants returns the endpoints by the addresses that their services list.
func (d *Daemon) wants() map[config.Address]*endpoint {
	wants := make(map[config.Address]*endpoint)
	for _, ep := range d.endpoints {
		for _, a := range ep.conf.Listen {
			wants[a] = ep
		}
	}
	return wants
}
