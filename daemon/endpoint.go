// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"fmt"
	"time"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/listen"
	"penstock/daemon/internal/report"
	"penstock/daemon/internal/service"
	"penstock/daemon/internal/view"
	"penstock/evloop"
)

// An endpoint is one running service. It is the loop's Handler for the connections
// of the service and stands between the loop and the protocol. It bounds, counts
// and logs, so that no kind has to. It passes each call on by one indirect call,
// without an allocation.
//
// If a reload changes the kind of a service or its delimiter, it makes a new endpoint
// and points the listeners to it. The old endpoint stays until its last connection has
// closed.
type endpoint struct {
	d       *Daemon
	conf    *config.Service
	log     *report.Service
	svc     service.Service
	opts    *evloop.Options // of its connections; see adjustClients
	sources sources
	owner   service.Owner // of its connections, which is this endpoint

	listeners []*listener
	conns     int
	most      int                              // the most conns there have been
	retired   bool                             // replaced, removed or stopping: no new connections
	holds     bool                             // it can take nobody now
	stopped   bool                             // its last connection is gone
	before    *endpoint                        // has to end before this one starts; nil: none
	next      *endpoint                        // the one that waits for this one; nil: none
	why       error                            // ends its clients once it is retired; nil: service.ErrShutdown
	asking    map[evloop.ConnID]evloop.TimerID // once retired: clients that may still ask
	joined    []*joining
	taps      []*tapping // nil: nobody looks

	accepted, dropped uint64
	closed            view.Traffic      // of connections that have ended
	refused           map[string]uint64 // connections, by reason
	cut               map[string]uint64 // the same
	told              view.Traffic      // of all connections, as it was last told; see totals
	rates             view.Rates        // of all connections, by who asks
	lost              map[string]uint64 // messages received and not served, by reason
}

// newEndpoint makes the service of s. Listeners are added by the caller.
func (d *Daemon) newEndpoint(s *config.Service) (*endpoint, error) {
	ep := &endpoint{d: d, conf: s, log: d.log.Service(s.Name), sources: newSources(), refused: make(map[string]uint64), cut: make(map[string]uint64), lost: make(map[string]uint64)}
	ep.owner.Part = ep
	var err error
	if ep.svc, err = service.New(s, ep.env()); err != nil {
		return nil, fmt.Errorf("service %s: %w", s.Name, err)
	}
	ep.conf, ep.opts = s, service.Options(s, ep.svc)
	return ep, nil
}

// env returns what the service may use of the daemon.
func (ep *endpoint) env() service.Env {
	d := ep.d
	return service.Env{
		Loop:    d.loop,
		Log:     ep.log,
		Now:     time.Now,
		Lose:    ep.lose,
		Sending: d.outputMayWait,
		Changed: d.statusChanged,
		Beside:  d.hasBeside,
		Hold:    ep.hold,
		Folders: d.folders,
		Tune: func(fd int, id uint64) {
			listen.TuneBackend(fd, id)
			if !isPatient(ep.conf.StallTimeout) {
				listen.CutVanished(fd)
			}
		},
	}
}

// hold leaves further clients in the backlog, or lets them in again.
func (ep *endpoint) hold(on bool) {
	ep.holds = on
	ep.door()
}

// lose counts messages that were received and not served.
func (ep *endpoint) lose(reason report.Reason, messages int) {
	ep.lost[reason.String()] += uint64(messages)
}

// start prepares the service for its first connection. If the service must wait for
// its predecessor, it starts when that one ends.
func (ep *endpoint) start() {
	if s, ok := ep.svc.(service.Starter); ok && ep.before == nil {
		s.Start()
	}
}

// stop ends the service after its last connection.
func (ep *endpoint) stop() {
	ep.stopped = true
	s, ok := ep.svc.(service.Stopper)
	if !ok || ep.before != nil {
		return
	}
	ep.d.ending++
	s.Stop(func() {
		ep.d.ending--
		ep.ended()
		ep.d.stopIfDrained()
	})
}

// succeed has ep wait for the end of old, the service that it replaces, if both run
// something that must not run twice, such as a program with a device open. Several
// reloads in a row make a chain of waiting services.
func (ep *endpoint) succeed(old *endpoint) {
	_, runs := old.svc.(service.Stopper)
	if _, starts := ep.svc.(service.Starter); runs && starts {
		ep.before, old.next = old, ep
	}
}

// ended is called when the service has released everything. A successor that was
// stopped before it could start ends with it.
func (ep *endpoint) ended() {
	next := ep.next
	if next == nil {
		return
	}
	ep.next, next.before = nil, nil
	if next.stopped {
		next.ended()
		return
	}
	next.start()
}

// refuse counts and logs a client that is not let in. err says more, or is nil.
func (ep *endpoint) refuse(listener string, p view.Peer, reason report.Reason, err error) {
	ep.refused[reason.String()]++
	ep.log.Refused(listener, p, reason, err)
}

// Open takes a connection that Accept has let in.
func (ep *endpoint) Open(c *evloop.Conn) {
	ep.conns++
	ep.most = max(ep.most, ep.conns)
	if a, waits := unannounced(c); waits {
		a.begin(c)
		return
	}
	ep.letIn(c)
}

// letIn gives the service a connection whose client is known.
func (ep *endpoint) letIn(c *evloop.Conn) {
	s := service.SessionOf(c)
	ep.accepted++
	ep.sources.add(s.Peer())
	ep.d.sources.add(s.Peer())
	c.SetOptions(ep.opts)
	if ep.taps != nil {
		c.Tap(ep.sees(s.ID))
	}
	ep.d.watchPeer(c, s)
	ep.d.statusChanged()
	ep.svc.Open(c)
	ep.d.outputMayWait()
}

// Data hands bytes to the service.
func (ep *endpoint) Data(c *evloop.Conn, p []byte) int {
	if a, waits := unannounced(c); waits {
		return a.hear(c, p)
	}
	if c.Options() != ep.opts {
		ep.adjustClient(c)
	}
	if ep.taps != nil {
		ep.tapInput(c, p[min(len(c.Input()), len(p)):]) // what was kept was shown before
	}
	n := ep.svc.Data(c, p)
	ep.d.outputMayWait()
	if ep.retired && n > 0 && n == len(p) { // a service may take its input in portions
		ep.asked(c)
	}
	return n
}

// Relay asks a service that passes on what its clients send. What is looked at, or may be
// the last, goes by Data.
func (ep *endpoint) Relay(c *evloop.Conn) *evloop.Conn {
	r, ok := ep.svc.(evloop.Relayer)
	if !ok || ep.taps != nil || ep.retired || c.Options() != ep.opts {
		return nil
	}
	if _, waits := unannounced(c); waits {
		return nil
	}
	return r.Relay(c)
}

// EOF tells the service that the client has shut its side for sending.
func (ep *endpoint) EOF(c *evloop.Conn) {
	if a, waits := unannounced(c); waits {
		a.ended(c)
		return
	}
	ep.svc.EOF(c)
	ep.d.heard(ep, c)
	ep.d.outputMayWait()
}

// Drained tells the service that there is room again.
func (ep *endpoint) Drained(c *evloop.Conn) {
	ep.svc.Drained(c)
	ep.d.outputMayWait()
}

// Dropped counts and logs what the overflow policy threw away.
func (ep *endpoint) Dropped(c *evloop.Conn, messages, bytes int) {
	ep.dropped += uint64(messages)
	s := service.SessionOf(c)
	ep.log.Dropped(s.ID, s.Peer(), messages, bytes)
	if h, ok := ep.svc.(evloop.Dropper); ok {
		h.Dropped(c, messages, bytes)
	}
}

// Closed counts and logs a connection that has ended.
func (ep *endpoint) Closed(c *evloop.Conn, err error) {
	s := service.SessionOf(c)
	if errors.Is(err, evloop.ErrDetached) {
		ep.conns-- // the next process has it
		return
	}
	if a, waits := unannounced(c); waits {
		a.closed(c, err)
		ep.left()
		return
	}
	ep.svc.Closed(c, err)
	ep.conns--
	if isWatched(c) {
		ep.d.vanished.patient--
	}
	ep.closed.In += s.BytesIn(c)
	ep.closed.Out += s.BytesOut(c)
	ep.sources.remove(s.Peer())
	ep.d.sources.remove(s.Peer())
	ep.d.forgetSilent(c)
	delete(ep.asking, c.ID())
	if ep.taps != nil {
		ep.untap(s.ID)
	}
	err = ep.end(err)
	if ep.d.life.phase == stopping && isCut(err) {
		ep.d.cut++
	}
	if reason := report.EndOf(err); reason.Cut() {
		ep.cut[reason.String()]++
	}
	ep.log.Closed(viewConn(c, s, ep.d.loop.Now()), err)
	ep.left()
}

// end returns why a connection has ended that the loop has closed with err.
func (ep *endpoint) end(err error) error {
	switch {
	case err != nil || !ep.retired:
		return err
	case ep.why != nil:
		return ep.why
	}
	return service.ErrShutdown
}

// left is called when a connection has ended.
func (ep *endpoint) left() {
	ep.d.statusChanged()
	if ep.conns == 0 {
		ep.d.rested()
	}
	if ep.retired && ep.conns == 0 {
		ep.d.emptied(ep)
	}
}

// endpointOf returns the endpoint to which the connection of s belongs.
func endpointOf(s *service.Session) *endpoint { return s.Owner.Part.(*endpoint) }

// connections yields the endpoint's connections. It walks over the connections of
// all services, because it is used only at a reload, a stop and a dump, and a list
// for each service would cost every idle connection some bytes.
func (ep *endpoint) connections(yield func(*evloop.Conn) bool) {
	for c := range ep.d.loop.Conns() {
		if s, ok := c.State.(*service.Session); ok && s.Owner.Part == ep && !yield(c) {
			return
		}
	}
}

// isCut reports whether a connection that ended with err was cut before the client
// got all its output.
func isCut(err error) bool {
	return errors.Is(err, evloop.ErrFlushTimeout) || errors.Is(err, evloop.ErrStalled) || errors.Is(err, service.ErrUnanswered)
}
