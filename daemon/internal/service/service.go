// SPDX-License-Identifier: Apache-2.0

package service

import (
	"fmt"
	"math"
	"time"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/device"
	"penstock/daemon/internal/report"
	"penstock/daemon/internal/view"
	"penstock/evloop"
)

// A Service serves all connections of one configured service. Every method is
// called on the loop; c.State is a *Session, made before Open.
//
// Optional interfaces: Adjuster, Bounder, Carrier, Companioned, Feeder, Misser, Publisher,
// Suspender, Starter, Stopper, Tapped, Watched, Drainer, Viewer, Holder, Fareweller, and from evloop Dropper (told what an overflow policy threw away).
type Service interface {
	evloop.Handler
}

// A Starter does something before its first connection. Start must not block:
// what takes time goes on by itself. Connections may come before it is called,
// when what the service replaces has yet to end; they wait.
type Starter interface{ Start() }

// A Stopper releases something after its last connection, or at exit, when the
// loop may be closed already. Stop must not block and may be called twice. ended
// is called once when everything is released, within Stop or later on the loop. It is
// not called if the loop is closed before that.
type Stopper interface{ Stop(ended func()) }

// An Adjuster goes on with its connections when a reload changes keys of its kind. Every
// kind that has keys of its own is one. Only another kind, or another way to cut the
// stream (config.Service.Continues), makes another service.
type Adjuster interface {
	// Adjust takes the place of New for a service that runs. The new keys hold from
	// the next message on. It is called at each reload, also when nothing has changed,
	// so that what the former configuration held can be freed.
	Adjust(conf *config.Service)
	// Adjusted is called after Adjust for each connection, if a key has changed. The
	// loop takes several turns for a thousand connections.
	Adjusted(c *evloop.Conn)
}

// A Drainer finishes a connection in its own way when the service ends. c must close
// within timeout. left is what the client has sent and Data has not taken; it is valid
// until Drain returns, and whole messages in it are counted as lost. A service without
// this method gets CloseAfterFlush(timeout, nil). The reason is nil so that a client that
// does not take its output in time keeps its own reason; the daemon itself names the
// shutdown.
type Drainer interface {
	Drain(c *evloop.Conn, left []byte, timeout time.Duration)
}

// A Viewer adds to a snapshot what only it knows.
type Viewer interface{ View(v *view.Service) }

// A Tapped has a source of its own whose bytes can be looked at.
type Tapped interface {
	// Tap has f told what goes from and to it, until it is called with nil. f must not
	// keep p.
	Tap(f func(fromSource bool, p []byte))
}

// A Fareweller has a last line for a client that is cut off because it did
// not read. The bytes must not change.
type Fareweller interface{ Farewell() []byte }

// A Bounder bounds its connections in another way than their keys say to all others.
type Bounder interface {
	// Bound changes o, which Options has filled in.
	Bound(o *evloop.Options)
}

// Env is what a service may use of the daemon.
type Env struct {
	Loop *evloop.Loop
	Log  *report.Service
	Now  func() time.Time // wall clock; durations are measured by Loop.Now

	// Sending is to be called when the service sends without having been called for
	// a connection: from a timer, or because a program has said something. Loop
	// only.
	Sending func()

	// Changed is to be called when the state of a source has changed. Loop only.
	Changed func()

	// Beside counts n connections more, or fewer, that a client has beside its own.
	// Loop only.
	Beside func(n int)
	// Tune sets the options of a TCP connection to another server.
	Tune func(fd int, id uint64)

	// Hold leaves further clients in the backlog until it is called with false. Loop
	// only.
	Hold func(on bool)

	// Folders are those of devices, for all bridges.
	Folders *device.Folders

	// Lose counts messages of clients that were received and came to nothing,
	// by the reason; the service also logs what it loses. Loop only.
	Lose func(reason report.Reason, messages int)
}

// New makes the service that conf describes. conf must be complete, as
// config.Load returns it, and must not change afterwards.
func New(conf *config.Service, env Env) (Service, error) {
	newKind, ok := makers[conf.Kind]
	if !ok {
		return nil, fmt.Errorf("kind %q is not known", conf.Kind)
	}
	return newKind(conf, env), nil
}

// makers holds a line for each kind: how to make a service of it.
var makers = map[config.Kind]func(*config.Service, Env) Service{
	config.KindLookup:  func(conf *config.Service, env Env) Service { return newLookup(conf, env) },
	config.KindEcho:    func(_ *config.Service, env Env) Service { return &echo{log: env.Log} },
	config.KindTicker:  func(conf *config.Service, env Env) Service { return newTicker(conf, env) },
	config.KindHandler: func(conf *config.Service, env Env) Service { return newHandler(conf, env) },
	config.KindRoom:    func(conf *config.Service, env Env) Service { return newRoom(conf, env) },
	config.KindBridge:  func(conf *config.Service, env Env) Service { return newBridge(conf, env) },
	config.KindProxy:   func(conf *config.Service, env Env) Service { return newProxy(conf, env) },
	config.KindDiscard: func(*config.Service, Env) Service { return discard{} },
	config.KindDaytime: func(_ *config.Service, env Env) Service { return oneShot{daytime(env.Now)} },
	config.KindTime:    func(_ *config.Service, env Env) Service { return oneShot{rfc868(env.Now)} },
	config.KindChargen: func(*config.Service, Env) Service { return &chargen{} },
	config.KindQOTD:    func(conf *config.Service, _ Env) Service { return newQOTD(conf) },
	config.KindExec:    func(conf *config.Service, env Env) Service { return newExec(conf, env) },
	config.KindTail:    func(conf *config.Service, env Env) Service { return newTail(conf, env) },
}

// Why a service ended a connection. report.EndOf returns the word for the log.
var (
	// ErrShutdown means that the service or the daemon ends.
	ErrShutdown error = report.NewCause("service ends", report.EndShutdown)
	// ErrLineTooLong means that the client sent more than max_line bytes
	// without a delimiter.
	ErrLineTooLong error = report.NewCause("line longer than max_line", report.EndLineTooLong)
	// ErrReplyLost means that a handler's client did not read and a reply to
	// it did not fit its queue, where only broadcasts may be dropped.
	ErrReplyLost error = report.NewCause("reply does not fit the queue", report.EndReplyLost)
	// ErrNotTaken means that a program, or the source of a bridge, has not
	// taken what the client sent for idle_timeout, or takeTimeout without one.
	ErrNotTaken error = report.NewCause("the program or device takes no message", report.EndNotTaken)
	// ErrNotStarted means that the program of an exec's client could not be executed.
	ErrNotStarted error = report.NewCause("the program was not started", report.EndNotStarted)
	// ErrNoBackend means that no address of a proxy's backend has answered in time.
	ErrNoBackend error = report.NewCause("no backend has answered", report.EndNoBackend)
	// ErrBackendReset means that the backend of a proxy has reset the connection.
	ErrBackendReset error = report.NewCause("the backend has reset the connection", report.EndBackendReset)
	// ErrUnanswered means that a client had sent messages that nobody will serve: the
	// service ends, or the program of a handler has died.
	ErrUnanswered error = report.NewCause("messages without a reply", report.EndUnanswered)
)

// goodbyeTimeout is how long a client that broke the rules may take to read what
// is queued for it: long enough for a last line over a radio link.
const goodbyeTimeout = 10 * time.Second

// untilStalled is how long a client that is finished may take to read what is
// queued for it: as long as it goes on reading, which stall_timeout watches.
// To cut off a slow reader here would be to lose a reply.
const untilStalled time.Duration = math.MaxInt64

// finish ends a connection in order: what is queued goes out first.
func finish(c *evloop.Conn) { c.CloseAfterFlush(untilStalled, nil) }

// listens reports whether c, which has shut its side, came only to listen: it has never
// sent anything, like a client whose input is /dev/null (nc -N, socat -, a unit without
// a terminal). Kinds that send without being asked go on sending to it, and notice that
// it is gone when they next send. A client that has sent something gets its answers, and
// its connection ends.
func listens(c *evloop.Conn) bool { return SessionOf(c).BytesIn(c) == 0 }

// plain is what most kinds do at the ends of a connection: nothing to say at
// the beginning, and when the client has no more to say, it gets the rest of
// its replies and the connection is over. A line that was cut by the end is
// no line and is not answered.
type plain struct{ evloop.Base }

func (plain) Closed(*evloop.Conn, error) {}
