// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"fmt"
	"iter"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A Loop serves connections on one goroutine, the one that calls Run. See the
// package comment for what may be called from where.
//
// One turn:
//
//	wait ─► events ─► expired timers ─► posted functions ─► ready list ─┐
//	 ▲    (no sleep while anything is left over)                         │
//	 └──────────────────────────────────────────────────────────────────┘
//
// The ready list holds what the kernel will not report again, because its edge
// was spent: connections that used up their read budget or were resumed,
// listeners that used up their batch. loop_turn.go bounds how much of all this
// one turn does.
type Loop struct {
	be        backend
	wake      waker
	conns     table[Conn]
	listeners table[Listener]
	watches   table[Watch]
	timers    timers
	deadlines minHeap // of connections, by slot

	now    Time
	clock  Time // on which connections' deadlines run; see conn_deadline.go
	looked Time // when the last wait ended
	gap    Time // between the ends of the last two waits if the loop was late, else 0
	late   bool // by more than lateAfter since looked
	depth  int  // callbacks in progress

	restoring int // Restores that are not done

	ready, serving []token   // the ready list of the next turn and of this one
	dirty          []*Conn   // with output to send or a flush to end after the callback
	strict         bool      // the memory bound was reached in this callback: see owing
	dead           []*Conn   // waiting for their Closed
	detached       int       // how many of dead were detached
	dropped        []*Conn   // with drops to report
	posted         []posting // taken from the waker and not yet run
	work           turnBudget
	caller         caller // of Run, for programs built with the tag evloopcheck

	gather gather
	rbuf   []byte // [kept input | bytes just read]
	pool   pool
	nodes  nodeSlab
	owing  owing

	readBudget int
	limit      int   // connections
	memory     int64 // bound of queued; 0: none
	queued     int64 // bytes queued and kept
	stats      Stats
	awoke      Time                // when the latest wait ended; 0: the turn after it is counted already
	tap        func(*Conn, []byte) // nil: nobody looks
	fallback   error               // why be is no ring, though Config asks for one
	waiting    bool                // a listener waits for a descriptor or a place
	opened     bool                // a connection was opened in this turn
	stopped    atomic.Bool
	closed     bool

	sys kernel
}

// Config bounds a Loop. The zero value is usable.
type Config struct {
	// Connections is the most connections at once; further clients wait in
	// the backlog. Zero means what RLIMIT_NOFILE allows, less a headroom of
	// 32 descriptors for everything else.
	Connections int
	// Memory bounds the bytes queued for and kept from all connections
	// together. At the bound a connection that is charged about the most pays,
	// by its own policy: no other is charged an eighth more. A connection is
	// charged for its bytes and for what the loop needs to keep them. Buffers
	// are rounded up to powers of two, so up to twice as much may be in use.
	// Zero means no bound.
	Memory int64
	// ReadBudget is the most bytes read from a connection in a turn. Zero
	// means 64 KiB, the size of the read buffer: on a small board copying a
	// megabyte would keep the others waiting for some ten milliseconds. What
	// is passed on inside the kernel for a Relayer may be twice that; with less
	// than 64 KiB nothing is.
	ReadBudget int
	// Work bounds what a turn does for all connections together. Its unit is a
	// delivery: a message put into a queue is one, and a system call or a new
	// client counts as many. See Spent. Zero means 4096.
	Work int
	// IOUring asks for io_uring(7). Nil means epoll(7), which works everywhere.
	IOUring *IOUring
}

// Stats is a snapshot of counters.
type Stats struct {
	Conns, Listeners, Timers int
	Queued                   int64  // bytes queued and kept now
	Accepted                 uint64 // connections taken since New
	AcceptErrors             uint64 // failed accepts, whether a client or the system was the cause
	StaleEvents              uint64 // events for a former holder of a slot
	DroppedMessages          uint64
	Turns                    uint64

	TurnTimes
}

const (
	readSize = 64 << 10
	// headroom is kept free under RLIMIT_NOFILE (Redis keeps as many): the
	// journal, a configuration file and a program's pipes must still open
	// when clients have taken the rest.
	headroom = 32
)

// New makes a loop with the back end of cfg, or with epoll in its place, see
// Fallback. The errors are those of epoll_create1(2), eventfd(2) and
// getrlimit(2), as *os.SyscallError.
func New(cfg Config) (*Loop, error) { return newLoop(cfg, nil) }

// newLoop is New with the seam for simulated system calls.
func newLoop(cfg Config, sim *simulation) (*Loop, error) {
	l := &Loop{readBudget: cfg.ReadBudget, memory: cfg.Memory, limit: cfg.Connections, sys: kernel{sim: sim}}
	if l.readBudget <= 0 {
		l.readBudget = readSize
	}
	l.work = turnBudget{limit: cfg.Work, bury: mostBuried, events: mostEvents}
	if l.work.limit <= 0 {
		l.work.limit = turnWork
	}
	l.work.begin()
	if l.limit <= 0 {
		var r unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
			return nil, fmt.Errorf("evloop: %w", os.NewSyscallError("getrlimit", err))
		}
		l.limit = int(min(max(r.Cur, headroom+1)-headroom, 1<<30))
	}
	l.conns.most, l.deadlines.most = l.limit, l.limit
	l.rbuf = make([]byte, DefaultMaxInput+readSize)
	if err := l.choose(cfg); err != nil {
		return nil, fmt.Errorf("evloop: %w", err)
	}
	if err := l.wake.open(&l.sys); err != nil {
		l.be.close()
		return nil, fmt.Errorf("evloop: %w", err)
	}
	l.now = l.sys.now()
	l.clock, l.looked = l.now, l.now
	return l, nil
}

// Run serves until Stop. The calling goroutine becomes the loop's. The error is
// ErrLoopClosed, or that of the wait itself (an *os.SyscallError), which no
// caller can mend. After Run has returned, Close releases what is left.
func (l *Loop) Run() error {
	if l.closed {
		return ErrLoopClosed
	}
	l.caller.enterRun()
	defer l.caller.leaveRun()
	l.awoke = 0
	l.refresh() // the clock was read in New, perhaps long ago
	l.enter()   // what was written before Run goes out now
	l.leave()
	for !l.stopped.Load() {
		if err := l.turn(true); err != nil {
			return fmt.Errorf("evloop: %w", err)
		}
	}
	l.be.offer() // sends what was written in the last turn
	return nil
}

// turn does one round; it does not sleep unless block is set.
func (l *Loop) turn(block bool) error {
	l.stats.Turns++
	l.work.begin()
	l.serving, l.ready = l.ready, l.serving[:0]
	timeout := Time(0)
	if block && len(l.serving) == 0 && !l.leftOver() {
		timeout = l.patience()
		l.turned()
	}
	l.opened = false
	before := l.now
	if err := l.be.wait(timeout); err != nil {
		return err
	}
	if l.turned(); timeout != 0 {
		l.stats.Asleep += l.now.Sub(before)
	}
	l.awoke = l.now
	l.expire()
	l.runPosted()
	l.serveReady()
	if len(l.dead) > 0 {
		l.enter() // connections that an earlier turn left to be buried
		l.leave()
	}
	return nil
}

// Stop makes Run return after the present turn. It may be called from any
// goroutine, also before Run, and more than once.
func (l *Loop) Stop() {
	l.stopped.Store(true)
	l.wake.now()
}

// Close ends every connection with ErrLoopClosed, closes the listeners and
// releases the loop. Close must not overlap Run. Call it on the goroutine that
// called Run. Another goroutine may call it after Run has returned, but with
// io_uring the first one then stays locked to its thread, and the receive
// buffers are leaked. It may be called more than once.
func (l *Loop) Close() {
	l.checkCaller()
	if l.closed {
		return
	}
	l.closed = true
	l.depth, l.restoring = l.depth-l.restoring, 0 // Done will do nothing any more
	l.enter()
	for c := range l.conns.all {
		c.fail(ErrLoopClosed)
	}
	l.leave()
	for ln := range l.listeners.all {
		ln.Close()
	}
	for w := range l.watches.all {
		w.Close()
	}
	left := l.wake.close()
	l.be.close()
	l.unrun(l.posted)
	l.unrun(left)
}

// Now returns the time of the present turn. The clock is read before the turn's
// events are served, so Now lags by what the turn has taken so far.
func (l *Loop) Now() Time { return l.now }

// Conn returns the connection with that id, or nil when it is gone.
func (l *Loop) Conn(id ConnID) *Conn {
	l.checkCaller()
	if id.loop == l {
		if c := l.conns.at(id.slot); c != nil && c.gen == id.gen {
			return c
		}
	}
	return nil
}

// Conns yields the connections that have not been closed. The body may close
// any of them.
func (l *Loop) Conns() iter.Seq[*Conn] {
	return func(yield func(*Conn) bool) {
		for c := range l.conns.all {
			if c.state < stateDead && !yield(c) {
				return
			}
		}
	}
}

// SetLimits replaces Config.Connections and Config.Memory. Zero connections
// leaves that limit as it is; zero memory means no bound. Connections over a
// lowered limit stay. If more is queued than a lowered bound allows,
// connections pay now.
func (l *Loop) SetLimits(connections int, memory int64) {
	l.checkCaller()
	if connections > 0 {
		l.limit = connections
	}
	l.memory = memory
	l.enter()
	l.collectDebt()
	l.leave()
	l.kick()
}

// Stats returns the present counters.
func (l *Loop) Stats() Stats {
	l.checkCaller()
	s := l.stats
	s.Conns, s.Listeners, s.Timers = l.conns.used, l.listeners.used, l.timers.heap.len()
	s.Queued = l.queued
	return s
}
