// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/device"
	"penstock/daemon/internal/report"
	"penstock/evloop"
	"penstock/systemd"
)

// Env is what the process was started with. The command fills it in; tests
// fill in what they need.
type Env struct {
	Version string
	Log     *slog.Logger
	Level   *slog.LevelVar // follows log.level; nil leaves it alone

	// Flush tries to deliver records that wait for the journal. It returns how many
	// still wait. nil: records never wait. See LogWaiting.
	Flush func() int

	// Load reads the configuration again for a reload. It is called on a
	// goroutine of its own, lets others run often, and ends with an error that
	// wraps context.Cause when the context is cancelled.
	Load    func(context.Context) (*config.Config, error)
	Builtin bool // the configuration is the built-in example

	// Restored is set when the files were refused and the daemon serves what was in
	// force before.
	Restored *Restored
	// Applied is called when the files that were read last are in force: when the
	// daemon is ready, unless Restored is set, and after each reload that was not
	// refused. nil: not needed.
	Applied func()

	// Hangup holds a SIGHUP that came before New; see HoldHangup. nil: none did.
	Hangup <-chan os.Signal

	// Stops holds SIGTERM and SIGINT that came before New; see HoldStops. nil: they end
	// the process until then.
	Stops chan os.Signal

	// Managed is set when a unit started the process. Then the process never binds,
	// and its only sockets are those in Inherited.
	Managed   bool
	Inherited systemd.Inherited
	// Queues are the reader's ends of queues with the connections of a former
	// process, see ErrHandedOver.
	Queues []int
	// Stop has the process stop as soon as it is ready: the former process was asked to
	// stop when it had handed over already.
	Stop bool
	// MayExec says why the process cannot become another one at a hand-over, or
	// returns nil. nil: it never can. Only a process without a manager is asked. It is
	// called on a goroutine of its own, and lets others run often.
	MayExec func() error
	// Control is the path of the control socket for a process without a manager; "":
	// there is none. A manager passes it under the name ControlName.
	Control  string
	Notifier *systemd.Notifier // nil: nobody to tell
	Watchdog time.Duration     // interval of WATCHDOG=1; 0: none

	// Probe tries io_uring in another process and returns why it must not be used.
	// nil: nothing can try it, and loop.backend = "auto" means epoll.
	Probe func() error

	// Ready is called once, when every listener accepts; nil: not needed.
	Ready func()
}

// A Restored says why the daemon does not serve what the files say.
type Restored struct {
	Applied time.Time // when it came into force
	Refused error     // what is wrong with the files
}

// ErrNoSockets says that a unit started the process without any socket. There is
// nothing to serve, and a restart would change nothing, so it counts as bad
// configuration.
var ErrNoSockets = errors.New("started by a unit without a listening stream socket")

// errNoProbe says why "auto" means epoll when Env.Probe is nil.
var errNoProbe = errors.New("no way to probe for io_uring")

// ioUring translates loop.backend for the event loop.
func (e Env) ioUring(backend config.Backend) *evloop.IOUring {
	switch {
	case backend == config.BackendIOUring:
		return &evloop.IOUring{}
	case backend == config.BackendAuto && e.Probe == nil:
		return &evloop.IOUring{Probe: func() error { return errNoProbe }}
	case backend == config.BackendAuto:
		return &evloop.IOUring{Probe: e.Probe}
	}
	return nil
}

// A Daemon is the running process. New makes it, Run serves; both on the same
// goroutine.
type Daemon struct {
	env  Env
	cfg  *config.Config
	loop *evloop.Loop
	log  *report.Log
	life life

	quiet func() // ends the catching of signals; may be called again

	endpoints map[string]*endpoint   // by name, of the present configuration
	retired   []*endpoint            // of former ones, until their last client is gone
	ending    int                    // services without clients whose program has yet to end
	parked    map[string][]*listener // inherited sockets of services that were removed
	control   *controlSocket         // nil: there is none
	began     evloop.Time            // of the process
	drained   map[string]bool        // services that let nobody in, as an administrator wants
	readings  uint64                 // of the files that have begun, for reloads
	places    int                    // how many clients there may be; see fitConnections
	joins     int                    // programs that follow the messages of services
	watchers  *watchers              // programs that follow the log
	beside    int                    // connections that clients have beside their own
	sources   sources                // of all clients
	folders   *device.Folders        // on the way to devices
	silent    []silent               // clients that may be gone, the oldest first
	lastID    uint64                 // ID of the newest session; stays below 2^53

	local localSubnets

	owed     []owedResult // of reloads
	reading  *reading     // reads the files for a reload; nil: none is under way
	refusal  error        // why the files were refused at the start or the last reload; nil: they were not
	restored *Restored    // set while the files of the start are refused; nil: the files are in force
	cut      int          // connections that the stop ended before they got all their output

	handing   handing
	stopAsked atomic.Bool // a signal to stop has come, perhaps too late for this process
	takeover  *takeover   // of the former process, until Run; nil: there is none
	reads     uint64      // version of the records that are being read

	timers   [timerKinds]evloop.TimerID // zero: not armed
	vanished vanished
	strays   bool // the process was handed sockets that no service reads from
}

// New does all that can fail: it sets limits, makes services and opens sockets. The
// caller reports the error. ErrNoSockets counts as bad configuration.
func New(cfg *config.Config, env Env) (_ *Daemon, err error) {
	if err := env.haveSockets(); err != nil {
		return nil, err
	}
	controlled := takeControl(&env.Inherited)
	d, err := newDaemon(env.relevant(cfg), env)
	if err != nil {
		return nil, err
	}
	d.quiet = d.catchSignals()
	defer func() {
		if err != nil {
			if d.takeover != nil {
				d.takeover.collect()
			}
			d.release()
		}
	}()
	d.noteStart()
	d.openControl(controlled)
	if d.takeover, err = d.find(); err != nil {
		return nil, err
	}
	for _, s := range d.cfg.Services {
		if d.endpoints[s.Name], err = d.newEndpoint(s); err != nil {
			return nil, err
		}
	}
	if env.Managed {
		d.inherit(env.Inherited)
	} else if err = d.bindAll(); err != nil {
		return nil, err
	}
	if d.takeover != nil {
		d.takeover.all()
	}
	return d, nil
}

// haveSockets says why a process that a unit started has nothing to serve.
func (e Env) haveSockets() error {
	switch {
	case !e.Managed || len(e.Inherited.Sockets) > 0:
		return nil
	case len(e.Inherited.Rejected) == 0:
		return fmt.Errorf("%w: enable penstock.target and run penstock apply", ErrNoSockets)
	}
	report.Rejected(e.Log, e.Inherited.Rejected) // why none of them will do
	return ErrNoSockets
}

// newDaemon makes a daemon without services, within the limits of the process.
func newDaemon(cfg *config.Config, env Env) (*Daemon, error) {
	connections, err := fitConnections(cfg)
	if err != nil {
		return nil, err
	}
	limitMemory(cfg)
	loop, err := evloop.New(evloop.Config{
		Connections: connections + internalConns(cfg),
		Memory:      cfg.Limits.Memory,
		ReadBudget:  readBudget(cfg.Limits.Memory),
		IOUring:     env.ioUring(cfg.Loop.Backend),
	})
	if err != nil {
		return nil, err
	}
	if env.Level != nil {
		env.Level.Set(cfg.Log.Level)
	}
	watchers := new(watchers)
	return &Daemon{
		env: env, cfg: cfg, loop: loop, began: loop.Now(), log: report.New(watchers.log(env.Log), cfg.Log.Peers, loop), watchers: watchers, folders: device.NewFolders(loop),
		endpoints: make(map[string]*endpoint), parked: make(map[string][]*listener), drained: make(map[string]bool),
		places: connections, sources: newSources(), reads: recordVersion,
	}, nil
}

// noteStart logs where the daemon differs from what the files ask for.
func (d *Daemon) noteStart() {
	if r := d.env.Restored; r != nil {
		d.restored, d.refusal = r, r.Refused
		d.log.Restored(r.Applied, r.Refused)
	}
	d.log.Warned(d.cfg.Warnings)
	if err := d.loop.Fallback(); err != nil {
		d.log.FellBack(d.cfg.Loop.Backend, err)
	}
	if d.places < d.cfg.Limits.Connections {
		d.log.FewerConnections(d.cfg.Limits.Connections, d.places)
	}
}

// Run serves until a signal or exit_idle stops the daemon; then it returns nil. It
// returns ErrHandedOver if the next process is to go on with the connections; then the
// caller must end the process with a status by which the manager starts the next one, or
// let it become that one (Queue, Exec). ErrNotHandedOver asks for that status too.
func (d *Daemon) Run() error {
	defer d.release()
	waiting := d.takeOver()
	for _, ep := range d.ordered() {
		ep.start()
	}
	for _, ep := range d.ordered() {
		d.armAll(ep)
	}
	d.offerWaiting(waiting)
	d.control.start()
	d.feedWatchdog()
	d.flushLog()
	d.advance(started)
	if d.env.Stop {
		d.stopBy(unix.SIGTERM)
	}
	if err := d.loop.Run(); err != nil {
		return err
	}
	if d.life.phase == handedOver {
		return ErrHandedOver
	}
	d.cut += d.clients() // the time of the drain is over, and they are still here
	if d.handing.wanted {
		return ErrNotHandedOver
	}
	return nil
}

// armAll begins to accept for ep. It logs each listener, and each address of ep that
// has none.
func (d *Daemon) armAll(ep *endpoint) {
	for _, l := range ep.listeners {
		if l.ln != nil {
			continue // an earlier configuration has armed it
		}
		if err := l.arm(); err != nil {
			ep.log.ListenerFailed(l.Text, err)
			continue
		}
		ep.log.Serving(l.Text)
	}
	for _, a := range ep.missing() {
		ep.log.ListenerMissing(a.Text, d.env.Managed)
	}
}

// advance takes a step of the life cycle and carries out its effects.
func (d *Daemon) advance(t trigger) {
	was := d.life
	next, do := step(was, t)
	d.life = next
	if do&sayReady != 0 {
		d.sayReady(was.phase == starting)
	}
	if do&reload != 0 {
		d.beginReload()
	}
	if do&again != 0 {
		d.readAgain()
	}
	if do&prepare != 0 {
		d.readNoMore()
		d.prepare()
	}
	if do&store != 0 {
		d.store()
	}
	if do&freeze != 0 {
		d.freeze()
	}
	if do&drain != 0 {
		d.readNoMore()
		d.beginDrain(d.why(t))
	}
	if do&finish != 0 {
		d.control.end()
		d.loop.Stop()
	}
}

func (d *Daemon) sayReady(first bool) {
	d.tell(d.ready(first))
	d.rested()
	if !first {
		return
	}
	listeners := 0
	for _, ep := range d.endpoints {
		listeners += len(ep.listeners)
	}
	d.log.Ready(d.env.Version, len(d.endpoints), listeners)
	if d.env.Applied != nil && d.restored == nil {
		d.env.Applied()
	}
	if d.env.Ready != nil {
		d.env.Ready()
	}
}

// listeners returns all open listeners, also the parked ones.
func (d *Daemon) listeners() (all []*listener) {
	for _, ep := range d.ordered() {
		all = append(all, ep.listeners...)
	}
	for _, parked := range d.parked {
		all = append(all, parked...)
	}
	return all
}

// ordered returns the endpoints sorted by name, so that logs are stable.
func (d *Daemon) ordered() []*endpoint {
	out := make([]*endpoint, 0, len(d.endpoints))
	for _, s := range d.cfg.Services {
		if ep := d.endpoints[s.Name]; ep != nil {
			out = append(out, ep)
		}
	}
	return out
}

// flushInterval is the time between two attempts to deliver records that wait for a
// busy journal.
const flushInterval = time.Second

// LogWaiting tells the daemon that records have begun to wait for the journal.
// Any goroutine may call it.
func (d *Daemon) LogWaiting() { d.loop.Post(d.flushLog) }

// flushLog tries to deliver waiting records, and sets a timer if some still wait.
func (d *Daemon) flushLog() {
	if d.env.Flush != nil && d.env.Flush() > 0 {
		d.arm(timerFlush, flushInterval)
	}
}

// tell logs err, the failure to notify the service manager, unless it is nil. The
// daemon works without the manager.
func (d *Daemon) tell(err error) {
	if err != nil {
		d.log.NotifyFailed(err)
	}
}
