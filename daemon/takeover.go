// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"math"
	"sort"
	"time"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/handover"
	"penstock/daemon/internal/listen"
	"penstock/daemon/internal/record"
	"penstock/daemon/internal/report"
	"penstock/daemon/internal/service"
	"penstock/evloop"
)

// The new process's side of a restart that closes no connection:
//
//	New ─► find ─────────► services, ─────► all ────────► Commit ─► READY ─► finish
//	       peek the queue   listeners        restore       drain             deliver,
//	       and read it                                     the queue         read
//
// Everything that can fail comes before Commit. If the process ends before, by a
// mistake in the files, a signal or a crash, the queue is as it was, and the next
// process finds it. What becomes of a connection that is not served any more is in
// takeover_part.go, which ones the limit of open files leaves out in takeover_files.go;
// listeners are in takeover_listeners.go.

// A takeover is a hand-over that has come.
type takeover struct {
	d        *Daemon
	parcels  []*handover.Parcel // those whose connections are to be ended come after the first
	records  *handover.Records  // nil: of another version, or damaged
	fds      []int
	places   []int         // of the record of each descriptor; -1: it has none
	sockets  []listen.Left // listeners that came along and were not claimed yet
	unopened []unopened
	expired  error  // nil: the queue is young enough
	collect  func() // ends holdGarbage

	restore *evloop.Restore
	held    []int // sockets in which what services hold lies; closed after Commit
	taken   int
	waiting []newcomer // clients that the former process has put off
	parting            // clients that are not taken over
	surplus            // of them: those for which there are no files
}

// find looks into the queues that the process was given. It returns nil if there are no
// connections in them. With an error the queues are as they were, for another attempt.
func (d *Daemon) find() (*takeover, error) {
	if len(d.env.Queues) == 0 {
		return nil, nil
	}
	clients := d.cfg.Limits.Connections
	_ = handover.Grow(clients + d.cfg.Beside(clients) + spareFiles) // a failure only makes the adoption slower
	t := &takeover{d: d}
	why := map[*handover.Parcel]error{}
	for _, fd := range d.env.Queues {
		p, err := handover.Peek(fd)
		switch {
		case errors.Is(err, handover.ErrEmpty), errors.Is(err, handover.ErrNotQueue):
			closeFD(fd)
			continue
		case p == nil: // it may go well the next time
			return nil, err
		}
		why[p] = err
		t.parcels = append(t.parcels, p)
	}
	if len(t.parcels) == 0 {
		return nil, nil
	}
	t.collect = holdGarbage()
	newest := handover.Newest(t.parcels)
	t.parcels[0], t.parcels[newest] = t.parcels[newest], t.parcels[0]
	t.read(t.parcels[0], why[t.parcels[0]])
	return t, nil
}

// spareFiles is for what a process has open beside its connections.
const spareFiles = 64

// read reads the records of the queue that counts. err is what Peek has said of it.
func (t *takeover) read(p *handover.Parcel, err error) {
	if errors.Is(err, handover.ErrExpired) {
		t.expired, err = report.NewCause(err.Error(), report.EndExpired), nil
	}
	var r *handover.Records
	if err == nil {
		r, err = handover.Decode(p.Records)
	}
	if err == nil {
		err = t.d.goOn(r)
	}
	if err != nil {
		r = &handover.Records{}
	}
	t.fds, t.places = p.FDs, p.Match(r.Conns)
	t.splitListeners(r)
	if err != nil {
		t.d.log.TakeOverFailed(report.EndUnreadable, len(t.fds), err)
		return
	}
	t.records, t.short = r, p.Missing > 0
	reserved := t.d.cfg.ReservedFiles()
	t.fit(max(openFiles(len(t.fds)+reserved)-reserved, 1+t.d.cfg.Beside(1)))
}

// all restores every connection whose service goes on with it. Those that are more than
// limits.connections stay and are counted; newcomers wait until enough have left.
func (t *takeover) all() {
	if t.records == nil {
		t.left = t.fds // the reason was logged
		return
	}
	restore, err := t.d.loop.NewRestore(field(t.records.Process, fieldMessages))
	if err != nil {
		t.d.log.TakeOverFailed(report.EndUnreadable, len(t.fds), err)
		t.left = t.fds
		return
	}
	t.restore = restore
	states := t.services()
	found := make([]bool, len(t.records.Conns))
	for i, fd := range t.fds {
		place := t.places[i]
		if place < 0 {
			t.leave(fd, "", errNoRecord)
			continue
		}
		found[place] = true
		if data := t.records.Conns[place].Data; !t.isHeld(fd, data, states) {
			t.one(fd, data, states)
		}
	}
	t.absent(found, states)
}

// A serviceState says whether a service goes on.
type serviceState struct {
	kind    config.Kind
	timeout time.Duration // drain_timeout in the former process
	err     error         // why the service does not go on; nil: it does
	relays  bool          // its clients have a connection beside their own
}

// half reports whether the other connection of a client is somewhere else: what comes there
// is lost for this one.
func (s serviceState) half() bool { return s.relays && s.err == errUnsent }

// services gives each service what its predecessor knew.
func (t *takeover) services() map[string]serviceState {
	states := map[string]serviceState{}
	for _, f := range t.records.Services {
		states[f.Name] = t.service(t.d.endpoints[f.Name], f.Data)
	}
	return states
}

// service has ep, which may be nil, take what the service of the same name knew.
func (t *takeover) service(ep *endpoint, data []byte) (s serviceState) {
	in := record.NewReader(data)
	kind, delimiter, timeout, state := in.Text(), in.Text(), in.Number(), in.Text()
	if s.err = in.Err(); s.err != nil {
		s.timeout = partTimeout
		return s
	}
	s.kind, s.timeout = config.Kind(kind), time.Duration(min(timeout, math.MaxInt64))
	if ep != nil {
		_, s.relays = ep.svc.(service.Companioned)
	}
	switch {
	case t.expired != nil:
		s.err = t.expired
	case ep == nil:
		s.err = errNoService
	case s.kind != ep.conf.Kind || string(delimiter) != ep.conf.Delimiter():
		s.err = errOther
	default:
		if c, ok := ep.svc.(service.Carrier); ok {
			s.err = c.Load(state)
		}
	}
	return s
}

// one goes on with a client, or with a connection that a client has beside its own.
func (t *takeover) one(fd int, data []byte, states map[string]serviceState) {
	if n, ok := readNewcomer(fd, data); ok {
		if t.expired != nil {
			t.leave(fd, n.service, t.expired)
			return
		}
		t.waiting = append(t.waiting, n)
		return
	}
	c, ok := readClient(data)
	if !ok {
		t.leave(fd, "", record.ErrDamaged)
		return
	}
	if c.remnant {
		t.remnant(fd, c)
		return
	}
	state, known := states[c.service]
	if !known {
		state = serviceState{timeout: partTimeout, err: errNoService}
	}
	if c.companion {
		t.companion(fd, c, state)
		return
	}
	if state.err == nil {
		ep := t.d.endpoints[c.service]
		_, state.err = t.restore.Conn(fd, ep, &service.Session{Owner: &ep.owner}, ep.opts, c.saved)
		if state.err == nil {
			t.taken++
			return
		}
		t.miss(c)
	}
	t.part(fd, c, state)
}

// Restored takes the place of Open for a connection of the former process.
func (ep *endpoint) Restored(c *evloop.Conn, state []byte) error {
	s := service.SessionOf(c)
	k, err := ep.d.readKnown(s, state)
	if err != nil {
		return err
	}
	if a := k.unannounced; a != nil {
		a.ep = ep
		ep.conns++
		a.begin(c)
		return nil
	}
	if carrier, ok := ep.svc.(service.Carrier); ok {
		if err := carrier.LoadConn(c, k.own); err != nil {
			return err
		}
	}
	ep.conns++
	ep.most = max(ep.most, ep.conns)
	ep.sources.add(s.Peer())
	ep.d.sources.add(s.Peer())
	ep.d.watchRestored(c, s, k.watched)
	if quiet := k.quiet; quiet.is() {
		quiet.conn, quiet.ep, quiet.source = c, ep, sourceOf(s.Peer())
		ep.d.silent = append(ep.d.silent, quiet)
	}
	return nil
}

// commit empties the queues. From here on the connections are this process's alone.
func (t *takeover) commit() {
	for i, p := range t.parcels {
		if err := p.Commit(); err != nil {
			t.d.log.QueueFailed(err)
		}
		if i > 0 {
			p.Discard()
		}
	}
	for _, fd := range t.left {
		handover.End(fd)
	}
	for _, fd := range t.halves {
		handover.Reset(fd)
	}
	t.endSurplus()
	for _, fd := range t.held {
		closeFD(fd)
	}
}

// takeOver empties the queue, once everything that can fail has succeeded. It returns the
// clients that wait to be let in.
func (d *Daemon) takeOver() []newcomer {
	t := d.takeover
	if t == nil {
		return nil
	}
	d.takeover = nil
	t.finish()
	t.closeListeners()
	t.spoke()
	d.reads = recordVersion
	t.collect()
	return t.waiting
}

// ready tells the service manager that the process is ready, or ready again. The first
// time it takes the queue, which is empty by then, out of the store.
func (d *Daemon) ready(first bool) error {
	if first && len(d.env.Queues) > 0 {
		return d.env.Notifier.ReadyForget(d.status(), QueueName)
	}
	return d.env.Notifier.Ready(d.status())
}

// finish has the loop deliver what has come meanwhile, and ends the connections that do
// not go on.
func (t *takeover) finish() {
	t.commit()
	if t.restore != nil {
		t.restore.Done()
	}
	t.sayGoodbye()
	// Package slices would bring another copy of the code, for this type.
	sort.SliceStable(t.d.silent, func(i, j int) bool { return t.d.silent[i].since < t.d.silent[j].since })
	t.d.outputMayWait()
}

// spoke logs how many connections go on, why others do not, and for how long the queue
// existed.
func (t *takeover) spoke() {
	cut := t.logLosses()
	if t.restore == nil {
		cut = len(t.left) // the reason was logged
	}
	t.d.log.TookOver(t.taken, cut, t.parcels[0].Age)
}
