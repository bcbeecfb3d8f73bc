// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"maps"
	"os"
	"slices"

	"penstock/daemon/internal/service"
	"penstock/daemon/internal/view"
	"penstock/evloop"
)

// A snapshot is made on the loop, in three parts:
//
//	part        what it copies                    cost
//	snapshot    counters of the daemon            a microsecond for each service
//	addClients  counters of each client           0.2 µs for each client, in one turn, so
//	                                              that all sums are of one moment
//	askKernel   bytes that the kernel holds       a system call for each client,
//	            for each client                   lookPortion clients in a turn
//
// A snapshot lists some clients of each service and not all, because a copy of 8,000
// clients would need a megabyte.

// A look is a snapshot that is being made.
type look struct {
	d    *Daemon
	s    *view.Snapshot
	of   map[*endpoint]*view.Service // in s
	left []evloop.ConnID             // clients of which the kernel has not been asked
	then func(*view.Snapshot)
}

// lookPortion is how many clients the kernel is asked about in a turn.
const lookPortion = 64

// look makes a snapshot that lists at most limit clients of each service, and calls
// then with it. That is at once, or in a later turn if there are many clients. then
// is not called if the loop ends before.
func (d *Daemon) look(limit int, then func(*view.Snapshot)) {
	k := &look{d: d, s: d.snapshot(), then: then}
	k.addClients(limit)
	k.askKernel()
}

// snapshot returns the state without its clients.
func (d *Daemon) snapshot() *view.Snapshot {
	s := d.process()
	for _, ep := range d.all() {
		s.Services = append(s.Services, ep.view())
	}
	return s
}

// process returns the state without its services.
func (d *Daemon) process() *view.Snapshot {
	st := d.loop.Stats()
	s := &view.Snapshot{
		Version: d.env.Version, PID: os.Getpid(), Uptime: d.loop.Now().Sub(d.began),
		Phase:   d.life.phase.String(),
		Managed: d.env.Managed,
		Limit:   d.places,
		Loop: view.Loop{
			Turns: st.Turns, Timers: st.Timers, Queued: st.Queued, Accepted: st.Accepted,
			AcceptErrors: st.AcceptErrors, StaleEvents: st.StaleEvents,
			Busy: st.Busy, Asleep: st.Asleep, Longest: st.Longest, Took: st.Took[:],
		},
	}
	if d.refusal != nil {
		s.Refused = d.refusal.Error()
	}
	if d.restored != nil {
		s.Restored = d.restored.Applied
	}
	if d.control != nil {
		s.Companions = d.control.companions()
	}
	return s
}

// addClients adds every client to its service in the snapshot.
func (k *look) addClients(most int) {
	k.of = make(map[*endpoint]*view.Service)
	for i, ep := range k.d.all() { // in the order of snapshot
		k.of[ep] = &k.s.Services[i]
	}
	k.left = make([]evloop.ConnID, 0, k.s.Clients())
	now := k.d.loop.Now()
	for c := range k.d.loop.Conns() {
		s, to := k.service(c)
		if to == nil {
			continue
		}
		to.Add(viewConn(c, s, now), most)
		k.left = append(k.left, c.ID())
	}
}

// service returns the session of a client and its service in the snapshot. The
// service is nil for a pipe to a program, and for a client of an endpoint that was
// made after the snapshot began.
func (k *look) service(c *evloop.Conn) (*service.Session, *view.Service) {
	s, client := c.State.(*service.Session)
	if !client {
		return nil, nil
	}
	return s, k.of[endpointOf(s)]
}

// askKernel goes on until the kernel was asked about every client.
func (k *look) askKernel() {
	n := min(len(k.left), lookPortion)
	for _, id := range k.left[:n] {
		if c := k.d.loop.Conn(id); c != nil {
			s, to := k.service(c)
			to.AddKernel(s.ID, c.KernelQueued())
		}
	}
	if k.left = k.left[n:]; len(k.left) > 0 {
		k.d.loop.Schedule(evloop.Timer{Deadline: k.d.loop.Now(), Handler: k})
		return
	}
	k.then(k.s)
}

// Expired goes on in a later turn.
func (k *look) Expired(*evloop.Loop, evloop.Timer) { k.askKernel() }

// viewConn is a client without what the kernel holds for it.
func viewConn(c *evloop.Conn, s *service.Session, now evloop.Time) view.Conn {
	return view.Conn{
		ID: s.ID, Peer: s.Peer(), Age: now.Sub(s.Since), Idle: c.Idle(),
		Queued: c.Queued(), Traffic: view.Traffic{In: s.BytesIn(c), Out: s.BytesOut(c)}, Dropped: c.Dropped(),
		Unsent: c.Unsent(),
	}
}

// view is the endpoint without its clients.
func (ep *endpoint) view() view.Service {
	v := view.Service{
		Name: ep.conf.Name, Kind: string(ep.conf.Kind), Leaving: ep.retired, Drained: !ep.retired && ep.d.drained[ep.conf.Name],
		Clients: ep.conns, Most: ep.most, Accepted: ep.accepted, Dropped: ep.dropped,
		Refused: maps.Clone(ep.refused), Cut: maps.Clone(ep.cut), Lost: maps.Clone(ep.lost), Closed: ep.closed,
	}
	v.Listeners, v.Missing = []view.Listener{}, []string{} // empty in JSON, and not null
	for _, l := range ep.listeners {
		v.Listeners = append(v.Listeners, view.Listener{Address: l.Text, Dead: l.dead()})
	}
	for _, a := range ep.missing() {
		v.Missing = append(v.Missing, a.Text)
	}
	if s, ok := ep.svc.(service.Viewer); ok {
		s.View(&v)
	}
	return v
}

// all returns every endpoint: those in force by name, then the retired ones.
func (d *Daemon) all() []*endpoint { return slices.Concat(d.ordered(), d.retired) }

// clients returns the number of connected clients.
func (d *Daemon) clients() (n int) {
	for _, ep := range d.endpoints {
		n += ep.conns
	}
	for _, ep := range d.retired {
		n += ep.conns
	}
	return n
}
