// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/service"
	"penstock/evloop"
	"penstock/evloop/evlooptest"
)

// A simWorld is one history: a daemon, the ones that take its place, and their clients.
//
//	act … act ─► rest ─► all is checked ─► act …, or the end
//	   └► restart at any turn
//
// At rest all clients read and write whatever they can, until each has what it is due.
type simWorld struct {
	t       testing.TB
	seed    uint64
	rng     *rand.Rand
	backend string
	dir     string
	err     error
	lines   []string // the trace

	d          *Daemon
	generation int
	turns      int
	acting     int  // turns until all come to rest
	rounds     int  // of acting, after this one
	idle       int  // turns at rest in which nothing has moved
	slept      bool // the loop may have turned more than once since the last call of turn
	restSince  time.Time
	ending     bool

	queue, history int // keys of the room
	tcp            int // a listener for TCP clients; -1: none
	clients        []*simClient
	listeners      *simClient // the member of the room that hears all
	ticks          simTicks
	program        *simStage // nil: no handler takes part
}

func newSimWorld(t testing.TB, seed uint64, backend string) *simWorld {
	w := &simWorld{
		t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), backend: backend, dir: t.TempDir(), tcp: -1,
	}
	w.queue = []int{4 << 10, 64 << 10}[w.rng.IntN(2)]
	w.history = w.rng.IntN(6)
	w.ticks.interval = time.Duration(100+w.rng.IntN(2000)) * time.Microsecond
	w.rounds = 1 + w.rng.IntN(3)
	if w.rng.IntN(4) == 0 {
		w.tcp = listenTCP(t)
	}
	if seed%8 == 0 {
		w.program = openStage(t)
	}
	return w
}

func (w *simWorld) tracef(format string, args ...any) {
	if *seedFlag != 0 {
		w.lines = append(w.lines, fmt.Sprintf("%d.%d ", w.generation, w.turns)+fmt.Sprintf(format, args...))
	}
}

// fail notes the first fault. The history ends with it.
func (w *simWorld) fail(err error) {
	if w.err == nil {
		w.err = fmt.Errorf("turn %d of daemon %d: %w", w.turns, w.generation, err)
		w.tracef("FAULT %v", err)
	}
	w.d.loop.Stop()
}

// config returns the configuration of the present generation.
func (w *simWorld) config() *config.Config {
	var b strings.Builder
	add := func(name, keys string) {
		fmt.Fprintf(&b, "[service.%s]\nlisten = ['%s/%s']\n%s\n", name, w.dir, name, keys)
	}
	fmt.Fprintf(&b, "[loop]\nbackend = '%s'\n", w.backend)
	add("echo", "kind = 'echo'\nqueue = 4096")
	add("lookup", fmt.Sprintf("kind = 'lookup'\nanswers = {q0 = \"q0 of %[1]d\\n\", q1 = \"q1 of %[1]d\\n\"}\ndefault = \"none of %[1]d\\n\"\nqueue = 1024", w.generation))
	add("ticker", "kind = 'ticker'\npayload = \"tick\\n\"")
	add("chargen", "kind = 'chargen'\nqueue = 4096")
	add("room", fmt.Sprintf("kind = 'room'\nwelcome = 'hi'\njoin = '+{name}'\nleave = '-{name}'\nhistory = %d\nqueue = %d", w.history, w.queue))
	if w.program != nil {
		add("handler", fmt.Sprintf("kind = 'handler'\nerror = \"sorry\\n\"\ncommand = ['%s']", strings.Join(w.program.command(), "', '")))
	}
	cfg, err := config.Parse("sim.toml", []byte(b.String()))
	if err != nil {
		panic(err)
	}
	for _, s := range cfg.Services {
		if keys, ok := s.Of.(*config.Ticker); ok {
			keys.Interval = w.ticks.interval // shorter than a file may have it
		}
	}
	return cfg
}

// play runs the history and returns the first rule that was broken.
func (w *simWorld) play() error {
	defer w.release()
	queues := []int(nil)
	for {
		var err error
		w.d, err = New(w.config(), Env{
			Log: slog.New(simLog{w}), Queues: queues, MayExec: func() error { return nil },
		})
		if err != nil {
			w.t.Fatal(err)
		}
		if w.backend == "io_uring" && w.d.loop.Fallback() != nil {
			w.d.release()
			w.t.Skip(w.d.loop.Fallback())
		}
		w.d.loop.Post(w.turn)
		w.slept = true // the loop may turn before it comes to that
		if w.generation == 0 {
			w.d.loop.Post(w.begin)
		}
		err = w.d.Run()
		if !errors.Is(err, ErrHandedOver) || w.err != nil {
			return w.over(err)
		}
		w.d.handing.parcel.closeLeft()
		w.d.LastStop()
		queues = []int{w.d.Queue()}
		w.d.handing.queue.Close()
		w.generation++
	}
}

// begin has those come who stay to the end.
func (w *simWorld) begin() {
	w.acting = 20 + w.rng.IntN(60)
	w.listeners = w.connect(simRoom)
	w.ticks.witness = w.connect(simTicker)
	w.ticks.next = w.d.loop.Now().Add(w.ticks.interval)
}

// turn is called by the loop once a turn, or at rest when it has slept.
func (w *simWorld) turn() {
	w.turns++
	if w.turns == 1 || w.err != nil {
		if w.err == nil {
			w.d.loop.Post(w.turn) // begin comes first
		}
		return
	}
	w.ticks.observe(w)
	w.slept = false
	w.listeners.read(w, 1<<16)
	switch {
	case w.acting > 0:
		w.d.loop.Post(w.turn)
		w.act()
	case w.idle > simCalm: // for something that takes time
		w.sleep()
		w.rest()
	default:
		w.d.loop.Post(w.turn)
		w.rest()
	}
}

// simCalm is for how many turns nothing may move before all are looked at.
const simCalm = 5

// sleep has the loop call turn after a while, whatever else it does meanwhile.
func (w *simWorld) sleep() {
	w.d.loop.Schedule(evloop.Timer{Deadline: w.d.loop.Now().Add(500 * time.Microsecond), Handler: w})
}

// Expired ends a sleep. What other timers have sent in this turn is counted by the time
// that turn is called.
func (w *simWorld) Expired(*evloop.Loop, evloop.Timer) {
	w.slept = true
	w.d.loop.Post(w.turn)
}

// simActs are what may happen in a turn.
var simActs = []simChoice[func(*simWorld)]{
	{3, "connect", func(w *simWorld) { w.come() }},
	{10, "say", func(w *simWorld) { w.some((*simClient).say) }},
	{10, "send", func(w *simWorld) { w.some(func(c *simClient, w *simWorld) { c.send(w, 1+w.rng.IntN(40)) }) }},
	{3, "send all", func(w *simWorld) { w.some(func(c *simClient, w *simWorld) { c.send(w, 1<<20) }) }},
	{6, "read", func(w *simWorld) { w.some(func(c *simClient, w *simWorld) { c.read(w, 1+w.rng.IntN(200)) }) }},
	{1, "flood", func(w *simWorld) { w.some((*simClient).flood) }},
	{1, "shut", func(w *simWorld) { w.some((*simClient).shutSoon) }},
	{1, "leave", func(w *simWorld) { w.some((*simClient).leave) }},
	{6, "program", func(w *simWorld) { w.program.act(w) }},
}

func (w *simWorld) act() {
	if w.acting--; w.acting == 0 {
		w.restSince, w.idle = time.Now(), 0
	}
	for range w.rng.IntN(5) {
		pick(w.rng, simActs).what(w)
	}
	w.program.serve(w, false)
	if w.rng.IntN(30) == 0 {
		w.restart()
	}
}

// restart asks the daemon to hand over, as a signal does.
func (w *simWorld) restart() {
	if w.d.life.phase == ready {
		w.tracef("restart")
		w.d.handOverBy(unix.SIGUSR2)
	}
}

// some has one of the clients do something.
func (w *simWorld) some(do func(*simClient, *simWorld)) {
	if c := w.clients[w.rng.IntN(len(w.clients))]; c != w.listeners && c != w.ticks.witness && !c.gone {
		do(c, w)
	}
}

// rest lets all come to rest, and then goes on with the history.
func (w *simWorld) rest() {
	moved := w.program.serve(w, true)
	for _, c := range w.clients {
		moved = c.allMoves(w) || moved
	}
	if w.idle++; moved {
		w.idle = 0
	}
	if w.idle <= simCalm || w.ending || w.d.life.phase != ready || w.err != nil {
		if time.Since(w.restSince) > evlooptest.Patience {
			w.fail(fmt.Errorf("no rest in phase %v", w.d.life.phase))
		}
		return
	}
	switch err := w.check(); {
	case err == nil:
		w.rested()
	case !errors.As(err, new(simNotYet)) || time.Since(w.restSince) > simPatience:
		w.fail(err)
	}
}

// simPatience is how long clients wait for what they are due.
const simPatience = evlooptest.Patience

// rested begins another round, or the end.
func (w *simWorld) rested() {
	w.tracef("at rest")
	w.rounds--
	switch {
	case w.rounds > 0:
		w.acting = 20 + w.rng.IntN(60)
	case w.rounds == 0:
		w.restart() // of clients that wait for nothing
		w.restSince, w.idle = time.Now(), 0
	default:
		w.ending = true
		w.restSince = time.Now()
		w.d.advance(terminate)
	}
}

// check looks whether every client has what it is due, and nothing else.
func (w *simWorld) check() error {
	log, err := w.roomLog()
	if err != nil {
		return err
	}
	for _, c := range w.clients {
		err := c.settled()
		if err == nil || c.gone {
			if c.kind == simRoom {
				err = log.check(w, c)
			} else {
				err = c.kind.check(w, c)
			}
		}
		if err != nil && !(c.gone && errors.As(err, new(simNotYet))) {
			return fmt.Errorf("client %d of %s: %w", c.id, c.kind.name, err)
		}
	}
	return nil
}

// over looks at how the last daemon has ended, and at what its clients got at last.
func (w *simWorld) over(err error) error {
	switch {
	case w.err != nil:
		return w.err
	case err != nil:
		return err
	}
	for _, c := range w.clients {
		c.read(w, 1<<20)
		if !c.gone && !c.eof && w.err == nil {
			w.err = fmt.Errorf("client %d of %s is left", c.id, c.kind.name)
		}
	}
	if w.err == nil {
		w.err = w.check()
	}
	return w.err
}

// release closes what the history has opened.
func (w *simWorld) release() {
	for _, c := range w.clients {
		w.tracef("client %d of %s got %q", c.id, c.kind.name, c.got)
		c.close()
	}
	if w.tcp >= 0 {
		unix.Close(w.tcp)
	}
	w.program.close()
	if w.err != nil && w.d.life.phase == handedOver {
		w.d.handing.parcel.closeLeft()
		w.d.handing.queue.Close()
	}
}

// server returns the connection of c in the daemon, or nil.
func (w *simWorld) server(c *simClient) *evloop.Conn {
	for conn := range w.d.loop.Conns() {
		if s, ok := conn.State.(*service.Session); ok && s.ID == c.id {
			return conn
		}
	}
	return nil
}

// A simLog traces the log, and does not allow what no history gives a reason for.
type simLog struct{ w *simWorld }

func (simLog) Enabled(context.Context, slog.Level) bool { return true }
func (l simLog) WithAttrs([]slog.Attr) slog.Handler     { return l }
func (l simLog) WithGroup(string) slog.Handler          { return l }

// simRefused are messages of the log that mean that connections were lost.
var simRefused = []string{"connections not handed over, finishing them", "connections not taken over", "connections of a service not taken over"}

func (l simLog) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool { fmt.Fprintf(&b, " %v", a); return true })
	l.w.tracef("log: %s", b.String())
	if slices.Contains(simRefused, r.Message) && l.w.err == nil {
		l.w.err = errors.New(b.String())
	}
	return nil
}
