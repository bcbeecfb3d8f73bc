// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"
)

// A simWorld is one history: the loop, the kernel it runs on, the peers and
// the model of every connection. All that is random comes from one seed, and
// nothing iterates over a map, so that a seed is a history.
type simWorld struct {
	l   *Loop
	k   *simKernel
	rng *rand.Rand

	lns       []*Listener
	paused    map[*Listener]bool
	closedLn  map[*Listener]bool
	socks     []*simSocket
	conns     []*simConn   // open ones
	away      []*simConn   // detached ones
	parcels   []*simParcel // what was detached and waits to be restored
	returning *simReturn   // a Restore in progress, or nil
	restored  int          // callbacks of a restart, whose drops the next turn reports
	restarts  bool         // the process is restarted at times
	timers    []simTimer
	calling   string // the callback in progress
	turn      simTurn
	posted    int    // functions that are still to run
	quiet     bool   // the history is over: no faults, willing peers
	bounded   bool   // the loop's memory was bounded at times
	crowd     bool   // clients come by the hundred, once
	polite    bool   // handlers look at Spent
	clients   uint64 // that were accepted, as far as they were counted
	spent     []TimerID
	serial    int

	options []*Options
	scratch []byte   // of write
	lines   []string // the trace, when wanted
}

// A simFailure is what a history ends with by panic when the loop or the
// model breaks a rule.
type simFailure string

func (w *simWorld) fail(args ...any) { panic(simFailure(fmt.Sprintln(args...))) }

func (w *simWorld) chance(n int) bool { return w.rng.IntN(n) == 0 }

// simSizes are the largest sizes of what is sent or written: mostly small, at
// times larger than any buffer.
var simSizes = []simChoice[int]{{1, "huge", 200 << 10}, {3, "large", 20 << 10}, {6, "middle", 2000}, {10, "small", 20}}

func (w *simWorld) size() int { return 1 + w.rng.IntN(pick(w.rng, simSizes).what) }

// memory draws a bound for Config.Memory. Every other time there is none.
func (w *simWorld) memory() int64 {
	if w.chance(2) {
		return 0
	}
	w.bounded = true
	return int64(30<<10 + w.rng.IntN(300<<10))
}

// begin makes the loop and its listeners.
func (w *simWorld) begin(h simHistory) {
	w.rng = rand.New(rand.NewPCG(h.seed, 0))
	w.paused, w.closedLn = map[*Listener]bool{}, map[*Listener]bool{}
	w.k = &simKernel{rng: w.rng, faults: h.faults, fail: w.fail, world: w.peers, clock: Time(time.Hour)}
	w.k.trace = func(string, ...any) {}
	if h.trace {
		w.k.trace = func(format string, args ...any) {
			w.lines = append(w.lines, fmt.Sprintf("%v ", time.Duration(w.k.clock))+fmt.Sprintf(format, args...))
		}
	}
	w.makeLoop(h.backend)
	w.polite, w.restarts = w.chance(2), w.chance(2)
	for range 4 {
		w.options = append(w.options, w.newOptions())
	}
	// No listener brings in terminals and FIFOs, but the loop does not care
	// where a connection comes from.
	for _, kind := range []fdKind{kindSocket | kindTCP, kindSocket | kindUnix, kindSocket | kindUnix | kindPacket, kindTerminal, 0} {
		ln := &Listener{a: w, fd: w.k.open(nil).fd, kind: bothWays | kind}
		w.lns = append(w.lns, ln)
		w.listen(ln)
	}
}

// makeLoop makes the loop, with another configuration each time.
func (w *simWorld) makeLoop(b simBackend) {
	cfg := w.config(b)
	l, err := newLoop(cfg, w.k.simulation())
	if err != nil {
		w.fail(err)
	}
	w.l = l
	switch be := l.be.(type) { // a small budget is enough for a flood here
	case *epoll:
		be.full = min(readSize, l.readBudget)
	case *ring:
		be.ep.full = min(readSize, l.readBudget)
	}
	if w.chance(3) {
		l.work.bury = 1 + w.rng.IntN(3)
	}
	if w.k.ring != nil {
		w.k.ring.attach(l)
	}
}

func (w *simWorld) listen(ln *Listener) {
	ln.loop = w.l
	if err := w.l.addListener(ln); err != nil {
		w.k.close(ln.fd, false)
		w.closedLn[ln], ln.closed = true, true
	}
}

// config draws a configuration, and brings in a ring where that is wanted.
func (w *simWorld) config(b simBackend) Config {
	cfg := Config{Connections: 2 + w.rng.IntN(12), Memory: w.memory()}
	if w.chance(20) {
		cfg.Connections, w.crowd = 200, true
	}
	if w.chance(2) {
		cfg.ReadBudget = 1 + w.rng.IntN(30<<10)
	} else if w.chance(2) {
		cfg.ReadBudget = 1 + w.rng.IntN(1000) // little is a flood, and is relayed
	}
	if w.chance(3) {
		cfg.Work = 1 + w.rng.IntN(1000)
	}
	if b == onRing {
		cfg.IOUring = &IOUring{Memory: 16 << (10 + w.rng.IntN(8)/2)} // 8 to 64 buffers
		w.k.ring = &simRing{k: w.k}
	}
	return cfg
}

func (w *simWorld) newOptions() *Options {
	o := &Options{Overflow: Overflow(w.rng.IntN(4)), Queue: w.size(), MaxInput: 16<<10 + w.rng.IntN(50<<10)}
	if w.chance(2) {
		o.LowWater = w.rng.IntN(o.Queue + 1)
	}
	if w.chance(4) {
		o.IdleTimeout = time.Duration(1 + w.rng.IntN(int(time.Second)))
	}
	if w.chance(4) {
		o.StallTimeout = time.Duration(1 + w.rng.IntN(int(time.Second)))
	}
	o.Exempt = w.chance(6)
	if w.chance(2) {
		o.Farewell = simMessage{simFarewell, simHead + w.rng.IntN(simFarewellMost-simHead)}.bytes()
		o.FarewellTimeout = time.Duration(1 + w.rng.IntN(int(time.Second)))
	}
	return o
}

// pickOptions returns one of the shared sets, or its like for an echo: that
// loses nothing without being told, and has no farewell in its stream.
func (w *simWorld) pickOptions(raw bool) *Options {
	o := w.options[w.rng.IntN(len(w.options))]
	if !raw {
		return o
	}
	lossless := *o
	lossless.Overflow = []Overflow{Pause, Pause, Disconnect}[w.rng.IntN(3)]
	lossless.Farewell = nil
	return &lossless
}

// peers is called before every system call: some client may act.
func (w *simWorld) peers() {
	if w.quiet || !w.chance(3) {
		return
	}
	if w.k.faults.rate > 0 && w.chance(2000) {
		w.k.clock += Time(w.rng.Int64N(int64(3 * time.Second))) // something has kept the loop waiting
	}
	if len(w.socks) < 3 || w.chance(12) {
		w.connect(max(0, w.rng.IntN(len(w.lns)+3)-3)) // half of them by TCP
		return
	}
	i := w.rng.IntN(len(w.socks))
	s := w.socks[i]
	if s.file != nil && s.file.closed {
		w.socks[i] = w.socks[len(w.socks)-1]
		w.socks = w.socks[:len(w.socks)-1]
		return
	}
	c := pick(w.rng, simPeerActs)
	if c.name != "" {
		w.k.trace("peer %d: %s", s.id, c.name)
	}
	c.what(w, s)
}

// simPeerActs is what a client may do. Those without a name say themselves
// what came of it.
var simPeerActs = []simChoice[func(*simWorld, *simSocket)]{
	{1, "FIN", (*simWorld).peerShuts},
	{1, "close", (*simWorld).peerCloses},
	{1, "reset", func(w *simWorld, s *simSocket) { w.k.reset(s, unix.ECONNRESET) }},
	{16, "", func(w *simWorld, s *simSocket) { w.peerSends(s, w.size()) }},
	{1, "", func(w *simWorld, _ *simSocket) { w.crowdComes() }},
	{20, "", func(w *simWorld, s *simSocket) { w.peerReads(s, w.size()) }},
}

// crowdComes has a hundred clients connect at once, in one history out of some.
func (w *simWorld) crowdComes() {
	if w.crowd {
		w.crowd = false
		for range 100 {
			w.connect(0)
		}
	}
}

// connect puts a client into the backlog of a listener.
func (w *simWorld) connect(i int) {
	if w.closedLn[w.lns[i]] {
		return
	}
	w.serial++
	s := &simSocket{id: uint32(w.serial), kind: w.lns[i].kind, size: 1 + w.size()}
	f := w.k.file("connect", w.lns[i].fd)
	f.backlog = append(f.backlog, s)
	w.socks = append(w.socks, s)
	w.k.trace("peer %d: connect", s.id)
	w.k.wake(f, unix.EPOLLIN)
}

func (w *simWorld) peerSends(s *simSocket, n int) {
	if s.finIn || s.gone || s.peerClosed {
		return
	}
	packet := !s.kind.isStream()
	if packet && n < 4 {
		n = 0 // a packet may be empty
	}
	if n = min(n, simWindow-(s.sent-s.read)); n > 0 || packet && len(s.packets) < 100 {
		w.k.trace("peer %d: sends %d", s.id, n)
		s.sent += n
		if packet {
			s.packets = append(s.packets, n)
		}
		w.k.wake(s.file, unix.EPOLLIN)
	}
}

func (w *simWorld) peerReads(s *simSocket, n int) {
	if !s.gone && !s.peerClosed {
		if n > 0 && s.unread > 0 {
			s.moved = w.k.clock
		}
		s.unread -= min(n, s.unread)
		w.k.space(s)
	}
}

// peerShuts ends the peer's side; a terminal or FIFO has only both.
func (w *simWorld) peerShuts(s *simSocket) {
	switch {
	case !s.kind.isSocket():
		w.k.reset(s, 0)
	case !s.gone && !s.finIn:
		s.finIn = true
		w.k.wake(s.file, 0)
	}
}

// peerCloses ends both directions: bytes that the peer has not read turn its
// FIN into RST, and all but TCP know at once that nobody is there.
func (w *simWorld) peerCloses(s *simSocket) {
	if s.gone || s.peerClosed {
		return
	}
	s.peerClosed = true
	if s.unread > 0 {
		w.k.reset(s, unix.ECONNRESET)
		return
	}
	s.finIn, s.gone = s.kind.isSocket(), s.kind&kindTCP == 0
	w.k.wake(s.file, 0)
}

// post hands the loop a function, as another goroutine would.
func (w *simWorld) post() {
	w.posted++
	w.l.Post(func() {
		w.turn.posts++
		w.begins(w.turn.posts, "posted functions")
		defer w.call(nil, "Post")()
		w.posted--
		w.act(nil)
	})
}
