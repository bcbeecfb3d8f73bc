// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"time"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/record"
	"penstock/daemon/internal/report"
	"penstock/daemon/internal/service"
	"penstock/evloop"
)

// A connection of the former process may have nobody here who goes on with it. What it
// was due before the restart, it gets all the same, as at a stop:
//
//	                                   its end                      who hears of it
//	service gone, or of another kind   restored to an endpoint      the log, twice: how many
//	state of the service unreadable    that is retired already,     of a service, and each in
//	queue too old                      and finished (retire.go)     its own record
//	its own record unreadable          at once                      the log; the others in a
//	                                                                room, if it tells who it was
//	more than RLIMIT_NOFILE holds      after Commit, by a reset     the log, and the others in
//	                                   if bytes are lost with it    its room
//	                                   (takeover_files.go)
//	not in the queue                   it has ended with that       the same
//
// The alternative was to close all of them at once. But queued output is no less due
// because somebody has edited a file.

// These say why a connection is not served any more.
var (
	errNoRecord  = report.NewCause("there is no record of it", report.EndUnreadable)
	errNoService = report.NewCause("there is no such service any more", report.EndShutdown)
	errOther     = report.NewCause("the service has another kind or delimiter", report.EndShutdown)
	errNoAddress = report.NewCause("the address is not listed any more", report.EndShutdown)
	errUnsent    = report.NewCause("it could not be queued for the next process", report.EndIncomplete)
	errAbsent    = report.NewCause("not in the queue", report.EndIncomplete)
	errFiles     = report.NewCause("more than the limit of open files: raise LimitNOFILE= or ulimit -n", report.EndIncomplete)
)

// parting is what a takeover knows of those who do not go on.
type parting struct {
	losses    []loss
	endpoints map[goodbye]*endpoint
	leavers   []*evloop.Conn // restored, and to be finished
	remnants  []remnant      // that leavers have beside their own connection
	missed    []missed       // others of their service are to be told
	left      []int          // to be ended after Commit
	halves    []int          // to be reset then
}

// A goodbye is what those who are finished together have in common.
type goodbye struct {
	service string
	reason  report.Reason
}

// A loss is for the log.
type loss struct {
	goodbye
	conns int
	err   error // of the first
}

// A missed client did not come, while its service goes on.
type missed struct {
	to      service.Misser
	session service.Session
	state   []byte
}

// partTimeout is for the clients of a service of which nothing could be read: the
// default of drain_timeout.
const partTimeout = 10 * time.Second

// lose counts a connection that is not served any more.
func (t *takeover) lose(name string, err error) goodbye {
	g := goodbye{name, report.EndOf(err)}
	if errors.Is(err, record.ErrDamaged) || errors.Is(err, evloop.ErrState) {
		g.reason = report.EndUnreadable
	}
	for i := range t.losses {
		if l := &t.losses[i]; l.goodbye == g && (l.err == errFiles) == (err == errFiles) {
			l.conns++
			return g
		}
	}
	t.losses = append(t.losses, loss{g, 1, err})
	return g
}

// drop has a connection ended after Commit. half says that it was one of two, so that its
// peer must not take this for the end of what the other side said.
func (t *takeover) drop(fd int, half bool) {
	if half {
		t.halves = append(t.halves, fd)
	} else {
		t.left = append(t.left, fd)
	}
}

// leave ends a connection at once.
func (t *takeover) leave(fd int, name string, err error) {
	t.lose(name, err)
	t.left = append(t.left, fd)
}

// part restores a connection that is to be finished.
func (t *takeover) part(fd int, c client, of serviceState) {
	ep, err := t.leaving(t.lose(c.service, of.err), of)
	var conn *evloop.Conn
	if err == nil {
		conn, err = t.restore.Conn(fd, ep, &service.Session{Owner: &ep.owner}, ep.opts, c.saved)
	}
	switch {
	case err != nil: // it is counted already
		t.drop(fd, of.relays)
	case of.half():
		conn.Abort(of.err)
	default:
		t.leavers = append(t.leavers, conn)
	}
}

// leaving returns the endpoint of those who part so. Like any that is retired, it ends
// with its last client.
func (t *takeover) leaving(g goodbye, of serviceState) (*endpoint, error) {
	if ep := t.endpoints[g]; ep != nil {
		return ep, nil
	}
	ep, err := t.d.newEndpoint(&config.Service{
		Name: g.service, Kind: config.KindDiscard, DrainTimeout: of.timeout,
	})
	if err != nil {
		return nil, err
	}
	ep.conf.Kind = of.kind
	ep.retired, ep.why = true, report.NewCause(of.err.Error(), g.reason)
	if t.endpoints == nil {
		t.endpoints = map[goodbye]*endpoint{}
	}
	t.endpoints[g] = ep
	return ep, nil
}

// absent goes through the records whose connection did not come, or was given up.
func (t *takeover) absent(found []bool, states map[string]serviceState) {
	for place, has := range found {
		if has {
			continue
		}
		data := t.records.Conns[place].Data
		c, ok := readClient(data)
		if n, waits := readNewcomer(-1, data); waits {
			c.service = n.service
		} else if !ok || c.companion && !c.remnant {
			continue // a listener, what a service holds itself, or counted with its client
		}
		why := errAbsent
		if t.short || t.given != nil && t.given[place] {
			why = errFiles
		}
		t.lose(c.service, why)
		if state, known := states[c.service]; ok && known && state.err == nil {
			t.miss(c)
		}
	}
}

// miss notes a client of which the others are to be told, if its record says who it was.
func (t *takeover) miss(c client) {
	to, tells := t.d.endpoints[c.service].svc.(service.Misser)
	if !tells {
		return
	}
	saved, err := evloop.ReadSaved(c.saved)
	if err != nil {
		return
	}
	m := missed{to: to}
	if k, err := t.d.readKnown(&m.session, saved.State); err == nil && k.unannounced == nil {
		m.state = k.own
		t.missed = append(t.missed, m)
	}
}

// logLosses says why connections are not served any more, and returns how many.
func (t *takeover) logLosses() (conns int) {
	for _, l := range t.losses {
		t.d.log.NotTakenOver(l.service, l.reason, l.conns, l.err)
		conns += l.conns
	}
	return conns
}

// sayGoodbye finishes who was restored for that, and tells others of who is missed.
func (t *takeover) sayGoodbye() {
	for _, ep := range t.endpoints {
		if ep.conns > 0 {
			t.d.retired = append(t.d.retired, ep)
		}
	}
	for _, c := range t.leavers {
		c.CloseAfterFlush(endpointOf(service.SessionOf(c)).conf.DrainTimeout, nil)
	}
	t.endRemnants()
	for i := range t.missed {
		m := &t.missed[i]
		m.to.Missed(&m.session, m.state)
	}
}
