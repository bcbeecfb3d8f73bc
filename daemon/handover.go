// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/handover"
	"penstock/daemon/internal/service"
	"penstock/evloop"
)

// The old process's side of a restart that closes no connection. The new one's is in
// takeover.go, the queue between them in package handover.
//
//	SIGINT ─► prepare ─────────────► store ──────────► freeze ──────────► end, status 75
//	          programs end, services  the empty queue;  take the connections
//	          with persist = "off"    all are served    out of the loop, and
//	          are finished; all       for storeGrace    fill the queue
//	          others are served
//	               │ SIGTERM               │ SIGTERM, or     │ the store has refused,
//	               │                       │ no manager      │ or no memory
//	               └───────────────────────┴─────────────────┴─► the end of any stop (drain.go)
//
// Clients wait from freeze until the new process reads: that is the pause. What a
// program has still to answer is not part of it.
//
// The queue is stored before it is filled, because a process that is killed in between
// then loses only what was not in yet. The store may refuse it, which shows when nothing
// is frozen, and costs no connection.
//
// A process that no manager holds becomes the next one by execve(2) (SIGUSR2). It keeps
// the queue itself, so freeze follows store at once. Its listening sockets go the same
// way as its connections.

// ErrHandedOver is what Run returns when the connections are in the queue.
var ErrHandedOver = errors.New("connections handed over to the next process")

// ErrNotHandedOver is what Run returns when a service manager has asked for a hand-over
// that was refused or has failed: every connection has had the end of a stop.
var ErrNotHandedOver = errors.New("connections ended instead of being handed over")

// QueueName is the name of the queue in the manager's store. No service can have it:
// their names have no dot.
const QueueName = "penstock.queue"

// saveTime is far more than the records of all connections take, also on a slow board.
const saveTime = 20 * time.Second

// handing is what a Daemon knows of a hand-over under way.
type handing struct {
	asking     bool                    // whether there may be a next process
	wanted     bool                    // a manager expects one, also if nothing can be handed over
	suspending int                     // services that have something to finish
	late       []*endpoint             // services that begin to finish when all others have
	silent     map[*evloop.Conn]silent // of Daemon.silent, while connections are taken out
	queue      *handover.Queue
	barrier    *barrier // the manager has not answered yet; nil: nothing is awaited
	parcel     *parcel  // what is in the queue; its descriptors are open until the end of the process
}

// byExec reports whether this process becomes the next one.
func (d *Daemon) byExec() bool { return !d.env.Managed }

// errNobody says that there is no service manager that could keep the queue.
var errNobody = errors.New("no service manager is there to keep the connections")

// askNext finds out whether there would be somebody to go on with the connections, and
// calls then with the reason why not, or nil. It reads files, for which clients must not
// wait, so that is done on another goroutine. While one asks, further requests are for
// the same.
func (d *Daemon) askNext(then func(error)) {
	switch {
	case !d.env.Managed && d.env.MayExec != nil:
		if d.handing.asking {
			return
		}
		d.handing.asking = true
		go func() {
			err := d.env.MayExec()
			d.loop.Post(func() {
				d.handing.asking = false
				then(err)
			})
		}()
	case d.env.Notifier == nil:
		then(errNobody)
	default:
		then(nil)
	}
}

// Queue returns the reader's end of the queue for the process that this one becomes,
// open across execve(2), or -1 if the service manager has it. It is for a caller whose
// Run has returned ErrHandedOver.
func (d *Daemon) Queue() int {
	if !d.byExec() {
		return -1
	}
	fd, err := d.handing.queue.Keep()
	if err != nil {
		return -1
	}
	return fd
}

// prepare has everything finish that cannot be carried: programs, and services that do
// not want to be. All others are served meanwhile.
func (d *Daemon) prepare() {
	d.handing.suspending++ // until everything that is to end has been told so
	patience, late := d.stillLeaving(), time.Duration(0)
	for _, ep := range d.ordered() {
		s, suspends := ep.svc.(service.Suspender)
		switch {
		case ep.conf.Persist == config.PersistOff:
			for _, l := range ep.listeners {
				l.pause()
			}
			d.parked[ep.conf.Name] = append(d.parked[ep.conf.Name], ep.listeners...)
			delete(d.endpoints, ep.conf.Name)
			ep.retire()
		case suspends && s.Late():
			d.handing.late = append(d.handing.late, ep)
			late = max(late, ep.conf.DrainTimeout)
			continue
		case suspends:
			d.suspend(ep)
		default:
			continue
		}
		patience = max(patience, ep.conf.DrainTimeout+drainGrace)
	}
	patience += late
	d.tell(d.env.Notifier.ExtendTimeout(patience + exitGrace))
	d.arm(timerGiveUp, patience)
	d.handing.suspending--
	d.lookPrepared()
}

// suspend has the service of ep finish what it has to finish.
func (d *Daemon) suspend(ep *endpoint) {
	d.handing.suspending++
	ep.svc.(service.Suspender).Suspend(ep.conf.DrainTimeout, func() {
		d.handing.suspending--
		d.lookPrepared()
	})
}

// stillLeaving returns how much time is left to services that a reload has removed or
// replaced.
func (d *Daemon) stillLeaving() (patience time.Duration) {
	if d.ending > 0 {
		patience = drainGrace
	}
	for _, ep := range d.retired {
		patience = max(patience, ep.conf.DrainTimeout+drainGrace)
	}
	return patience
}

// lookPrepared goes on when everything that must end has ended.
func (d *Daemon) lookPrepared() {
	if d.life.phase != leaving || d.handing.suspending+len(d.retired)+d.ending > 0 {
		return
	}
	late := d.handing.late
	d.handing.late = nil
	d.handing.suspending++ // until all of them have been told
	for _, ep := range late {
		d.suspend(ep)
	}
	d.handing.suspending--
	if d.handing.suspending == 0 {
		d.loop.Post(func() { d.advance(prepared) }) // connections are taken out between two turns
	}
}

// freeze takes all connections out of the loop and puts them into the queue.
func (d *Daemon) freeze() {
	began := time.Now()
	if err := d.kept(); err != nil {
		d.notHandedOver(err)
		return
	}
	d.tell(d.env.Notifier.Stopping(fmt.Sprintf("handing over %d connections", d.clients())))
	d.tell(d.env.Notifier.ExtendTimeout(saveTime))
	d.control.end()
	for _, l := range d.listeners() {
		l.pause() // the turn is not over yet, and a client that comes now is for the next process
	}
	p := d.save()
	unsent, err := d.fill(p)
	if err != nil {
		d.takeBack(p)
		d.notHandedOver(err)
		return
	}
	d.handing.parcel = p
	d.advance(filled)
	cut := d.finishUnsent(p, unsent)
	if p.stay > 0 {
		d.log.HandOverFailed(fmt.Errorf("%d connections: %w", p.stay, p.stayFor))
	}
	d.log.HandedOver(p.clients-p.companions-cut, cut+p.stay, time.Since(began))
	if len(unsent) > 0 {
		d.disarm(timerGiveUp)
		d.arm(timerGiveUp, unsentPatience)
	}
	d.stopIfDrained()
}

// fill puts the parcel into the queue, and returns what the kernel has refused to take.
func (d *Daemon) fill(p *parcel) ([]handover.Unsent, error) {
	b, err := p.Encode()
	if err != nil {
		return nil, err
	}
	result, err := d.handing.queue.Fill(handover.Header{}, b, p.fds)
	if err == nil {
		err = d.kept()
	}
	return result.Unsent, err
}

// unsentPatience is how long all others wait, so that clients that could not be queued
// get their output.
const unsentPatience = 100 * time.Millisecond

// finishUnsent finishes the clients that the kernel has refused to queue, and returns how
// many they are. The others live in the queue.
func (d *Daemon) finishUnsent(p *parcel, unsent []handover.Unsent) (cut int) {
	t := takeover{d: d, records: &p.Records, expired: errUnsent}
	for _, u := range unsent {
		if u.Index < p.clients { // the others are listeners, or devices that are opened anew
			t.fds, t.places = append(t.fds, p.fds[u.Index]), append(t.places, u.Index)
			p.fds[u.Index] = -1
			if c, ok := readClient(p.Conns[u.Index].Data); !ok || !c.companion {
				cut++
			}
		}
	}
	if len(t.fds) == 0 {
		return 0
	}
	d.log.HandOverFailed(fmt.Errorf("%d of %d connections: %w", len(t.fds), p.clients, unsent[0].Err))
	t.all()
	t.finish()
	for _, n := range t.waiting {
		handover.End(n.fd)
	}
	return cut
}

// errNotKept says that the manager has closed the queue, which it should keep.
var errNotKept = errors.New("the service manager does not keep descriptors: see FileDescriptorStoreMax= in systemd.service(5)")

// kept returns why nobody else keeps the queue, or nil.
func (d *Daemon) kept() error {
	if d.byExec() {
		return nil
	}
	held, err := d.handing.queue.Held()
	if err == nil && !held {
		err = errNotKept
	}
	return err
}

// notHandedOver gives the connections the end of any stop.
func (d *Daemon) notHandedOver(err error) {
	d.log.HandOverFailed(err)
	d.endBarrier()
	if d.handing.queue != nil {
		d.handing.queue.Close()
	}
	d.advance(unable)
}

// takeBack serves connections again that could not be handed over, so that they get
// the end of any stop.
func (d *Daemon) takeBack(p *parcel) {
	d.handing.queue.Close()
	for _, fd := range p.fds[p.clients:p.held] {
		closeFD(fd)
	}
	for _, s := range d.cfg.Services {
		old := d.endpoints[s.Name]
		if old == nil {
			continue
		}
		ep, err := d.newEndpoint(s)
		if err != nil {
			continue // its connections are ended below
		}
		ep.listeners, old.listeners = old.listeners, nil
		for _, l := range ep.listeners {
			l.ep = ep
		}
		d.endpoints[s.Name] = ep
		if s, ok := old.svc.(service.Stopper); ok {
			s.Stop(func() {}) // its program has ended; a device is closed
		}
	}
	t := takeover{d: d, records: &p.Records, fds: p.fds[:p.clients]}
	for i := range t.fds {
		t.places = append(t.places, i)
	}
	t.all()
	t.finish()
	t.logLosses()
	d.offerWaiting(t.waiting)
}

// LastStop ends the catching of signals, which goes on after a Run that has handed over
// to the process that this one becomes, and reports whether a stop was asked for, perhaps
// too late for this process. The next one has to obey. It may be called more than once.
func (d *Daemon) LastStop() bool {
	d.quiet()
	return d.stopAsked.Load()
}

// Exec has the process at path take the place of this one, with the queue. It returns
// only with an error. stop is LastStop.
func Exec(path string, argv, env []string, queue int, stop bool) error {
	env = append(env, fmt.Sprintf("%s=%d", QueueVariable, queue))
	if stop {
		env = append(env, StopVariable+"=1")
	}
	return os.NewSyscallError("execve", syscall.Exec(path, argv, env))
}

// StopVariable tells a process that was started by Exec to stop (Env.Stop).
const StopVariable = "PENSTOCK_STOP"

// QueueVariable tells a process that was started by Exec which descriptor the queue is.
const QueueVariable = "PENSTOCK_QUEUE"

// handOverBy begins a hand-over that a signal has asked for, unless one is under way, or
// the end.
func (d *Daemon) handOverBy(s unix.Signal) {
	clients, before := d.clients(), d.life.phase
	d.handing.wanted = d.env.Managed
	d.advance(handOver)
	if before < leaving {
		d.log.HandingOver(unix.SignalName(s), clients)
	}
}
