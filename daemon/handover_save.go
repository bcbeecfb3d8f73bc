// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"penstock/daemon/internal/handover"
	"penstock/daemon/internal/record"
	"penstock/daemon/internal/service"
	"penstock/evloop"
)

// What goes into the queue, and how it is written. takeover.go reads it, in the same
// order.

// recordVersion is that of all records which the daemon and its services write. Those
// of evloop have their own.
//
//	2  a client's record says who looks whether its peer has vanished
//	3  it may say what went over its connection before it was one, and that of a service
//	   the number of its last message
const recordVersion = 3

// Names of process-wide fields.
const (
	fieldDaemon   = "daemon"
	fieldMessages = "messages"
	fieldDrained  = "drained" // names of services; a version that does not know it opens their doors
)

// A descriptor in the queue is that of a client, of a listener, of a client that has not
// been let in yet, of a service itself, such as a device, of a connection that a client
// has beside its own, or of one whose client is gone, with bytes on their way.
const (
	tagClient    = 0
	tagListener  = 1
	tagNewcomer  = 2
	tagHeld      = 3 // of a service, wrapped
	tagCompanion = 4
	tagRemnant   = 5
)

// save takes the connections out of the loop, and listeners with them, if they go along.
func (d *Daemon) save() *parcel {
	p := &parcel{}
	d.handing.silent = make(map[*evloop.Conn]silent, len(d.silent))
	for _, s := range d.silent {
		d.handing.silent[s.conn] = s
	}
	d.silent = nil
	for _, ep := range d.ordered() {
		p.Services = append(p.Services, handover.Field{Name: ep.conf.Name, Data: ep.save()})
	}
	messages := d.detach(p)
	d.handing.silent = nil
	for _, n := range d.takeNewcomers() {
		p.add(n.fd, n.save())
	}
	p.clients = len(p.fds)
	for _, ep := range d.ordered() {
		p.addHeld(ep)
	}
	if p.held = len(p.fds); d.byExec() {
		for _, l := range d.listeners() {
			var w record.Writer
			w.Number(tagListener)
			w.Text(l.Save())
			p.add(l.FD, w)
		}
	}
	var w record.Writer
	w.Number(recordVersion)
	w.Number(d.lastID)
	p.Process = []handover.Field{{Name: fieldDaemon, Data: w}, {Name: fieldMessages, Data: messages}, {Name: fieldDrained, Data: d.saveDrained()}}
	return p
}

// saveDrained returns the names of the services that let nobody in.
func (d *Daemon) saveDrained() []byte {
	var w record.Writer
	names := d.closedDoors()
	w.Number(uint64(len(names)))
	for _, name := range names {
		w.Text([]byte(name))
	}
	return w
}

// loadDrained takes what saveDrained has returned; nil comes from an older version.
func (d *Daemon) loadDrained(data []byte) {
	in := record.NewReader(data)
	names := make([]string, in.Count(1))
	for i := range names {
		names[i] = string(in.Text())
	}
	if in.Err() != nil {
		return
	}
	for _, name := range names {
		d.drained[name] = true
	}
}

// detach takes all connections that can be carried out of the loop, and returns the
// messages that they share.
func (d *Daemon) detach(p *parcel) (messages []byte) {
	conns := d.carriable()
	carried, messages := d.loop.DetachAll(conns)
	for i, c := range carried {
		if c.Err != nil { // nothing else is set
			p.stayFor = c.Err // the end of the loop closes it
			if _, client := conns[i].State.(*service.Session); client {
				p.stay++
			}
			continue
		}
		tag, client := tagged(c.State)
		if tag != tagClient {
			p.companions++
		}
		var w record.Writer
		w.Number(tag)
		if tag == tagRemnant {
			w.Number(uint64(conns[i].Options().StallTimeout))
		} else {
			w.Text([]byte(endpointOf(client).conf.Name))
		}
		w.Text(c.Record)
		p.add(c.FD, w)
	}
	return messages
}

// carriable returns the connections that the next process can go on with.
func (d *Daemon) carriable() (conns []*evloop.Conn) {
	for c := range d.loop.Conns() {
		tag, s := tagged(c.State)
		if s != nil && !endpointOf(s).retired || tag == tagRemnant && c.Closing() {
			conns = append(conns, c)
		}
	}
	return conns
}

// tagged returns what a connection is, and the session of the client to which it
// belongs, or nil if it belongs to none, or to none any more.
func tagged(state any) (tag uint64, s *service.Session) {
	switch state := state.(type) {
	case *service.Session:
		return tagClient, state
	case service.Companion:
		if c := state.Client(); c != nil {
			return tagCompanion, service.SessionOf(c)
		}
		return tagRemnant, nil
	}
	return 0, nil
}

// A parcel is what the next process gets: records, and the descriptors of their Conns in
// the same order, those of clients first, then what services hold, then listeners.
type parcel struct {
	handover.Records
	fds []int

	clients    int // how many of fds are of clients, newcomers and companions among them
	companions int // of them: connections that clients have or had beside their own
	held       int // the place in fds behind what services hold

	stay    int   // clients that the loop did not give away
	stayFor error // why
}

// add puts a descriptor in. Every socket has a cookie since Linux 4.12 (socket(7)); one
// without could not be found again.
func (p *parcel) add(fd int, data []byte) {
	cookie, err := handover.Cookie(fd)
	if err != nil {
		handover.End(fd)
		return
	}
	p.Conns = append(p.Conns, handover.Conn{Cookie: cookie, Data: data})
	p.fds = append(p.fds, fd)
}

// save returns what the next process needs to go on with the service. Each of its
// connections has all output that it is due by then.
func (ep *endpoint) save() []byte {
	var w record.Writer
	w.Text([]byte(ep.conf.Kind))
	w.Text([]byte(ep.conf.Delimiter()))
	w.Number(uint64(ep.conf.DrainTimeout))
	if c, ok := ep.svc.(service.Carrier); ok {
		w.Text(c.Save())
	} else {
		w.Text(nil)
	}
	return w
}

// Saved returns what the endpoint and its service know of c, for evloop.Restorer.
func (ep *endpoint) Saved(c *evloop.Conn) ([]byte, error) {
	var w record.Writer
	session := service.SessionOf(c)
	session.Save(&w)
	ep.d.handing.silent[c].save(&w)
	w.Bool(isWatched(c))
	if _, waits := unannounced(c); waits {
		w.Text(nil)
	} else if s, ok := ep.svc.(service.Carrier); ok {
		w.Text(s.SaveConn(c))
	} else {
		w.Text(nil)
	}
	saveAnnounced(session, &w)
	return w, nil
}
