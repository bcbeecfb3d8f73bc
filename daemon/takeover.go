// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"fmt"
	"time"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/handover"
	"penstock/daemon/internal/listen"
	"penstock/daemon/internal/record"
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
// process finds it. A connection that nobody wants any more is ended after Commit,
// with the reason in the log.

// A takeover is a hand-over that has come.
type takeover struct {
	d       *Daemon
	parcels []*handover.Parcel // those whose connections are to be ended come after the first
	records *handover.Records  // nil: of another version, or damaged
	fds     []int
	places  []int // of the record of each descriptor; nil: in the same order

	restore *evloop.Restore
	taken   int
	left    []int // to be ended after Commit
}

// find looks into the queues that the process was given. It returns nil if there are no
// connections in them. With an error the queues are as they were, for another attempt.
func (d *Daemon) find() (*takeover, error) {
	if len(d.env.Queues) == 0 {
		return nil, nil
	}
	if err := handover.Grow(d.cfg.Limits.Connections + spareFiles); err != nil {
		d.log.TakeOverFailed(err) // it costs time, and nothing else
	}
	t := &takeover{d: d}
	for _, fd := range d.env.Queues {
		p, err := handover.Peek(fd)
		switch {
		case errors.Is(err, handover.ErrEmpty), errors.Is(err, handover.ErrNotQueue):
			closeFD(fd)
			continue
		case p == nil: // it may go well the next time
			return nil, err
		}
		if err != nil {
			d.log.TakeOverFailed(err)
			p.Records = nil
		}
		t.parcels = append(t.parcels, p)
	}
	if len(t.parcels) == 0 {
		return nil, nil
	}
	newest := handover.Newest(t.parcels)
	t.parcels[0], t.parcels[newest] = t.parcels[newest], t.parcels[0]
	t.read(t.parcels[0])
	return t, nil
}

// spareFiles is for what a process has open beside its connections.
const spareFiles = 64

// read reads the records of the queue that counts.
func (t *takeover) read(p *handover.Parcel) {
	t.fds = p.FDs
	if p.Records == nil {
		return // the reason was logged
	}
	r, err := handover.Decode(p.Records)
	if err == nil {
		err = t.d.goOn(r)
	}
	if err != nil {
		t.d.log.TakeOverFailed(err)
		return
	}
	t.records, t.places = r, p.Match(r.Conns)
	if n := len(r.Conns) - len(p.FDs); n > 0 {
		t.d.log.TakeOverFailed(fmt.Errorf("%d connections were not in the queue, or this process may not have so many files", n))
	}
}

// recordVersionRead is recordVersion, but for a test.
var recordVersionRead = uint64(recordVersion)

// goOn takes what the former process knew as a whole.
func (d *Daemon) goOn(r *handover.Records) error {
	in := record.NewReader(field(r.Process, fieldDaemon))
	if version := in.Number(); version != recordVersionRead {
		return fmt.Errorf("records of version %d, this process reads %d: %w", version, recordVersionRead, record.ErrDamaged)
	}
	last := in.Number()
	if err := in.Err(); err != nil {
		return err
	}
	d.lastID = max(d.lastID, last)
	return nil
}

// field returns the data of the field of that name, or nil.
func field(list []handover.Field, name string) []byte {
	for _, f := range list {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}

// listener returns the descriptor of a listener that came along, and takes it out.
func (t *takeover) listener(a config.Address) (fd int, ok bool) {
	if t == nil || t.records == nil {
		return -1, false
	}
	for i, fd := range t.fds {
		if fd < 0 || t.places[i] < 0 {
			continue
		}
		in := record.NewReader(t.records.Conns[t.places[i]].Data)
		if in.Number() == tagListener && string(in.Text()) == a.Text {
			t.fds[i] = -1
			return fd, true
		}
	}
	return -1, false
}

// all restores every connection whose service goes on with it.
func (t *takeover) all() {
	if t.records == nil {
		t.left = t.fds
		return
	}
	d := t.d
	carried := t.services()
	d.loop.SetLimits(max(d.places, len(t.fds))+internalConns(d.cfg), d.cfg.Limits.Memory)
	restore, err := d.loop.NewRestore(field(t.records.Process, fieldMessages))
	if err != nil {
		d.log.TakeOverFailed(err)
		t.left = t.fds
		return
	}
	t.restore = restore
	told := map[string]bool{}
	for i, fd := range t.fds {
		place := i
		if t.places != nil {
			place = t.places[i]
		}
		if fd < 0 {
			continue
		}
		if name, err := t.one(fd, place, carried); err != nil {
			t.left = append(t.left, fd)
			if !told[name] {
				d.log.NotTakenOver(name, err)
			}
			told[name] = true
		} else {
			t.taken++
		}
	}
}

// These say why a connection is not served any more.
var (
	errNoRecord  = errors.New("there is no record of it")
	errNoService = errors.New("there is no such service any more")
	errOther     = errors.New("the service has another kind or delimiter")
	errListener  = errors.New("the address is not listed any more")
)

// services gives each service what its predecessor knew, and returns those that go on,
// with the reason for the others.
func (t *takeover) services() map[string]error {
	carried := map[string]error{}
	for _, f := range t.records.Services {
		carried[f.Name] = t.d.endpoints[f.Name].load(f.Data)
	}
	return carried
}

// load takes what the service of the same name knew. ep may be nil.
func (ep *endpoint) load(data []byte) error {
	if ep == nil {
		return errNoService
	}
	in := record.NewReader(data)
	kind, delimiter, state := in.Text(), in.Text(), in.Text()
	if err := in.Err(); err != nil {
		return err
	}
	if string(kind) != string(ep.conf.Kind) || string(delimiter) != ep.conf.Delimiter() {
		return errOther
	}
	if c, ok := ep.svc.(service.Carrier); ok {
		return c.Load(state)
	}
	return nil
}

// one restores a connection. It returns the name of its service.
func (t *takeover) one(fd, place int, carried map[string]error) (name string, err error) {
	if place < 0 {
		return "", errNoRecord
	}
	in := record.NewReader(t.records.Conns[place].Data)
	if in.Number() != tagClient {
		return "", errListener
	}
	name = string(in.Text())
	saved := in.Text()
	if err := in.Err(); err != nil {
		return name, err
	}
	if err, known := carried[name]; !known {
		return name, errNoService
	} else if err != nil {
		return name, err
	}
	ep := t.d.endpoints[name]
	_, err = t.restore.Conn(fd, ep, &service.Session{Owner: ep}, ep.opts, saved)
	return name, err
}

// Restored takes the place of Open for a connection of the former process.
func (ep *endpoint) Restored(c *evloop.Conn, state []byte) error {
	s := service.SessionOf(c)
	in := record.NewReader(state)
	if err := s.Load(in); err != nil {
		return err
	}
	own := in.Text()
	if err := in.Err(); err != nil {
		return err
	}
	if carrier, ok := ep.svc.(service.Carrier); ok {
		if err := carrier.LoadConn(c, own); err != nil {
			return err
		}
	}
	ep.conns++
	ep.sources.add(s.Peer)
	ep.d.sources.add(s.Peer)
	if isWatched(c) {
		listen.SpareVanished(c.FD()) // the file may have been another one
	}
	ep.d.watchPeer(c, s)
	return nil
}

// commit empties the queues. From here on the connections are this process's alone.
func (t *takeover) commit() {
	for i, p := range t.parcels {
		if err := p.Commit(); err != nil {
			t.d.log.TakeOverFailed(err)
		}
		if i > 0 {
			p.Discard()
		}
	}
	for _, fd := range t.left {
		if fd >= 0 {
			handover.End(fd)
		}
	}
}

// takeOver empties the queue, when all that can fail has not.
func (d *Daemon) takeOver() {
	t := d.takeover
	if t == nil {
		return
	}
	d.takeover = nil
	t.finish()
	t.spoke()
}

// ready tells the service manager that the process is ready, or ready again. The first
// time it takes the queue out of the store, which is empty by then.
func (d *Daemon) ready(first bool) error {
	if first && len(d.env.Queues) > 0 {
		return d.env.Notifier.ReadyForget(d.status(), QueueName)
	}
	return d.env.Notifier.Ready(d.status())
}

// finish has the loop deliver what has come meanwhile.
func (t *takeover) finish() {
	t.commit()
	if t.restore != nil {
		t.restore.Done()
	}
	t.d.outputMayWait()
}

// spoke logs how many connections go on, and for how long the queue existed.
func (t *takeover) spoke() {
	age := time.Duration(0)
	if len(t.parcels) > 0 {
		age = t.parcels[0].Age
	}
	t.d.log.TookOver(t.taken, len(t.left), age)
}
