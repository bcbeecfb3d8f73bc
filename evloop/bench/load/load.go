// SPDX-License-Identifier: Apache-2.0

// Package load is the client side of the bench: one thread that keeps many
// connections busy and measures the server meanwhile.
//
// It is a closed loop: each connection has a fixed number of requests on the
// way and sends the next when a reply is complete. So ops/s is what the pair of
// server and client can do, and the server is the slower half as long as its
// CPU is busy all the time, which the report shows. An open loop (a fixed rate)
// would show queueing delay better, but needs a rate for each cell that every
// server can serve.
//
// It is written on raw non-blocking descriptors for the same reason as evloop:
// package net would cost more for a message than the servers under test, and
// be measured in their place. It does not use evloop itself, for a fault there
// would hide on both sides. Every reply is compared byte for byte.
package load

import (
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"penstock/evloop/bench/sample"
)

// Modes of a run.
const (
	Echo  = "echo"  // every byte comes back
	Ask   = "ask"   // Question is answered by Answer
	Room  = "room"  // a line of one sender goes to all other connections
	Churn = "churn" // connect, ask, read the answer, close
	// Exec and ExecPipes are Churn with a program for each connection that says back
	// what it hears: with the connection itself, and between two pipes.
	Exec      = "exec"
	ExecPipes = "exec-pipes"
	Idle      = "idle" // connect, one echo each, then nothing; Conns 0 measures the server at rest
	// ExecEcho is Echo by a program for each connection, between two pipes.
	ExecEcho = "exec-echo"
	// Restart is Echo at a fixed rate, and the server restarts in the middle.
	Restart = "restart"

	// The server is a relay, and the load is the server behind it too (behind.go).
	Proxy      = "proxy"       // Echo
	ProxyBulk  = "proxy-bulk"  // one direction, as fast as it goes
	ProxyChurn = "proxy-churn" // Churn
	ProxyIdle  = "proxy-idle"  // Idle
	ProxyReset = "proxy-reset" // the server behind resets each connection

	// The server passes on what a device says, the load is the device's other end, and
	// all connections receive.
	Bridge      = "bridge"       // lines at a fixed rate
	BridgeBurst = "bridge-burst" // as fast as it goes, Pipeline lines on the way
	BridgeIdle  = "bridge-idle"  // a line, then nothing
)

// Question and Answer are what a server in mode Ask must know. Both are part
// of the table in penstock's built-in example.
const (
	Question = "What is your name?"
	Answer   = "My name is Sir Lancelot of Camelot."
)

// Options say which server to load, and how.
type Options struct {
	Mode     string
	Network  string // "tcp" or "unix"
	Address  string // "127.0.0.1:7" or a path
	Conns    int    // in mode Room: receivers
	Size     int    // bytes of a message (Echo, Room)
	Pipeline int    // messages on the way for each connection; in mode Room: lines
	Stuck    int    // more connections, which send or join and never read
	Warmup   time.Duration
	Window   time.Duration
	Server   int   // PID to account for; 0: none
	Helpers  []int // PIDs that are a part of the server as well
	Due      int   // descriptor that gets a byte when the server shall restart (Restart); 0: none
	Behind   int   // listening descriptor of the server behind a relay (Proxy...); 0: none
	Source   int   // descriptor of the device's other end (Bridge...); 0: none

	WebSocket bool // the server speaks WebSocket, a message a line (ExecPipes, ExecEcho)
}

// Result is what one run found. Times are those of the window alone.
type Result struct {
	Ops     uint64        // replies, in mode Room delivered lines
	Elapsed time.Duration // of the window
	Server  sample.Usage
	Load    sample.Usage
	Foreign float64 // share of a CPU that others used

	// Time from sending a message to its complete reply.
	P50, P90, P99, P999, Max time.Duration
	// Silence is the longest time between two deliveries to one healthy
	// connection (the first).
	Silence time.Duration

	// Memory of the server: before the connections, when they were open, and
	// after a message on each. Only in mode Idle.
	Empty, Opened, Used sample.Memory
	// Files are the descriptors that the connections took in the server.
	Files int

	Stalled time.Duration // the longest that the server did not read the device (Bridge)

	// Only in mode Restart. All else is of the window before the restart.
	Calm, Restart Pauses
	Refused       int // fresh connections that were refused or cut off; in mode ProxyReset: that ended cleanly
}

// Pauses are what the clients of one window waited.
type Pauses struct {
	Longest time.Duration // that any client waited for an echo
	P99     time.Duration // of the longest wait of each client
	Fresh   time.Duration // the longest from connect(2) to the echo of a message
}

// Run does what o says and blocks until the window is over. It locks nothing
// and starts no goroutine; the caller should give the process a CPU of its own.
func Run(o Options) (Result, error) {
	// The path of a message allocates nothing, so there is nothing to collect;
	// a collection would only be a pause of our making.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	if o.Pipeline < 1 || o.Conns < 1 && o.Mode != Idle {
		return Result{}, fmt.Errorf("load: %d connections with %d messages: both must be at least 1", o.Conns, o.Pipeline)
	}
	r, err := run(o)
	if err != nil {
		return r, fmt.Errorf("load: %s: %w", o.Mode, err)
	}
	return r, nil
}

func run(o Options) (Result, error) {
	if o.WebSocket {
		return overWebSocket(o)
	}
	switch o.Mode {
	case Echo, Proxy, ExecEcho:
		return exchange(o, pattern(o.Size), pattern(o.Size))
	case Ask:
		return exchange(o, []byte(Question), []byte(Answer))
	case Room:
		return room(o)
	case Churn:
		return churn(o, turn{[]byte(Question), []byte(Answer)})
	case Exec, ExecPipes, ProxyChurn:
		return churn(o, turn{[]byte(Question), []byte(Question)})
	case ProxyBulk:
		return bulk(o)
	case ProxyReset:
		return resets(o)
	case Bridge, BridgeBurst:
		return bridge(o)
	case BridgeIdle:
		return idleBridge(o)
	case Idle, ProxyIdle:
		return idle(o)
	case Restart:
		return restarts(o)
	}
	return Result{}, fmt.Errorf("unknown mode")
}

// pattern returns a line of n bytes whose content shows a shift by any distance
// shorter than the line.
func pattern(n int) []byte {
	p := make([]byte, max(n, 1))
	for i := range p {
		p[i] = 'a' + byte(i%23) // 23 is coprime to every power of two
	}
	p[len(p)-1] = '\n'
	return p
}

// repeat returns p again and again, at least n bytes beyond its first round, so
// that n bytes of the stream can be taken from any phase in one slice.
func repeat(p []byte, n int) []byte {
	out := make([]byte, 0, n+2*len(p))
	for len(out) < n+len(p) {
		out = append(out, p...)
	}
	return out
}

// A window says when to measure and holds what was measured.
type window struct {
	o       Options
	base    time.Time
	started bool
	from    time.Duration // of the window, on clock
	until   time.Duration
	ops     uint64
	delays  histogram
	silence time.Duration
	before  reading
}

// A reading is the state of all accounts at one moment.
type reading struct {
	at           time.Duration
	server, load sample.Usage
	host         sample.Host
}

func newWindow(o Options) *window {
	return &window{o: o, base: time.Now(), from: o.Warmup, until: o.Warmup + o.Window}
}

// clock returns the time since the warm-up began.
func (w *window) clock() time.Duration { return time.Since(w.base) }

// done opens the window when its time has come, and reports whether it is over.
func (w *window) done(now time.Duration) (bool, error) {
	if !w.started && now >= w.from {
		r, err := w.read()
		if err != nil {
			return false, err
		}
		w.started, w.before = true, r
		w.until = r.at + w.o.Window
		w.ops, w.silence, w.delays = 0, 0, histogram{}
		return false, nil
	}
	return w.started && now >= w.until, nil
}

func (w *window) read() (reading, error) {
	var r reading
	var err error
	if w.o.Server != 0 {
		if r.server, err = w.o.usage(); err != nil {
			return r, err
		}
	}
	for _, pid := range w.o.Helpers {
		u, err := sample.Process(pid)
		if err != nil {
			return r, err
		}
		r.server = r.server.Add(u)
	}
	if r.load, err = sample.Process(os.Getpid()); err != nil {
		return r, err
	}
	r.host, err = sample.ReadHost()
	r.at = w.clock()
	return r, err
}

// usage reads what the server has used, with its programs where it may have some.
func (o Options) usage() (sample.Usage, error) {
	switch o.Mode {
	case Echo, Ask, Room, Churn, Idle, Restart:
		return sample.Process(o.Server)
	}
	return sample.Tree(o.Server)
}

// result closes the window.
func (w *window) result() (Result, error) {
	after, err := w.read()
	if err != nil {
		return Result{}, err
	}
	r := Result{
		Ops:     w.ops,
		Elapsed: after.at - w.before.at,
		Server:  after.server.Sub(w.before.server),
		Load:    after.load.Sub(w.before.load),
		P50:     w.delays.quantile(0.50), P90: w.delays.quantile(0.90),
		P99: w.delays.quantile(0.99), P999: w.delays.quantile(0.999),
		Max: w.delays.quantile(1), Silence: w.silence,
	}
	r.Foreign = sample.Foreign(after.host.Sub(w.before.host), r.Elapsed, r.Server, r.Load)
	return r, nil
}
