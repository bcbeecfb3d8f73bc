// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"fmt"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// deeds are what a handler may do to its own connection and to others.
var deeds = map[string]func(r *rig, self *Conn, all []*Conn){
	"abort itself": func(_ *rig, self *Conn, _ []*Conn) { self.Abort(nil) },
	"abort others": func(_ *rig, self *Conn, all []*Conn) {
		for _, c := range all {
			if c != self {
				c.Abort(nil)
			}
		}
	},
	"abort all": func(_ *rig, _ *Conn, all []*Conn) {
		for _, c := range all {
			c.Abort(nil)
		}
	},
	"flush itself":   func(_ *rig, self *Conn, _ []*Conn) { self.CloseAfterFlush(0, nil) },
	"linger over it": func(_ *rig, self *Conn, _ []*Conn) { self.CloseAfterFlush(patience, nil) },
	"flush all": func(_ *rig, _ *Conn, all []*Conn) {
		for _, c := range all {
			c.Write([]byte("bye"))
			c.CloseAfterFlush(0, nil)
		}
	},
	"pause and resume all": func(_ *rig, _ *Conn, all []*Conn) {
		for _, c := range all {
			c.Pause()
			c.Resume()
		}
	},
	"abort and add": func(r *rig, _ *Conn, all []*Conn) {
		for _, c := range all {
			c.Abort(nil)
			r.unix()
		}
	},
}

// Any connection may be ended in any callback.
func TestLoopEndAnywhere(t *testing.T) { eachBackend(t, endAnywhere) }

// endAnywhere has events of several connections in one batch, of which every
// callback results, and does each deed in the first call of each callback.
// The probe sees to the rest: no call after Closed, and exactly one of those.
func endAnywhere(r *rig) {
	for _, callback := range []string{"Open", "Data", "EOF", "Drained", "Dropped", "Closed"} {
		for name, deed := range deeds {
			r.Run(callback+", "+name, func(t *testing.T) {
				endIn(newRig(t, r.newLoop), callback, deed)
			})
		}
	}
}

func endIn(r *rig, callback string, deed func(*rig, *Conn, []*Conn)) {
	var conns []*Conn
	var peers []*peer
	done := false
	r.onAny = func(c *Conn, name string) {
		if name == callback && !done {
			done = true
			deed(r, c, slices.Clone(conns))
		}
	}
	r.onData = func(c *Conn, p []byte) int { c.Write(p); return len(p) }
	r.onEOF = func(c *Conn) { c.CloseAfterFlush(0, nil) }
	for _, pair := range []func() (*Conn, *peer){r.tcp, r.unix, r.tcp, r.unix, r.unix} {
		c, p := pair()
		conns, peers = append(conns, c), append(peers, p)
	}
	stuck, dropper := conns[3], conns[4]
	r.do(func() {
		stuck.SetOptions(&Options{Queue: 2000})
		dropper.SetOptions(&Options{Queue: 2000, Overflow: DropOldest})
		for _, c := range conns[3:] {
			if c.FD() >= 0 {
				r.clog(c)
			}
			for i := range 5 {
				c.Write(frame(i, 1000))
			}
		}
	})
	for i, p := range peers {
		p.receive() // room for the stuck: output in the batch
		unix.Write(p.fd, []byte("input"))
		if i%2 == 0 {
			p.shut()
		}
	}
	peers[1].reset()
	for range 8 {
		r.turn()
		for _, p := range peers {
			if p.fd >= 0 {
				p.receive()
			}
		}
	}
	for _, p := range peers {
		p.close()
	}
	for range 8 {
		r.turn()
	}
	if !done {
		r.Errorf("no call of %s", callback)
	}
}

// A connection that was closed gets no event of the same batch.
func TestLoopStaleInBatch(t *testing.T) { eachBackend(t, staleInBatch) }

// The kernel hands over events in batches: one for a connection that an
// earlier one has closed is stale, and its slot and its descriptor number may
// belong to somebody else by then.
func staleInBatch(r *rig) {
	a, p := r.unix()
	b, q := r.unix()
	p.write("a")
	q.write("b")
	var heir *Conn
	r.onData = func(c *Conn, buf []byte) int {
		other := a
		if c == a {
			other = b
		}
		other.Abort(nil)
		return len(buf)
	}
	r.onClosed = func(*Conn, error) { heir, _ = r.unix() }
	r.turn()
	if r.of(a).calls+r.of(b).calls != 1 {
		r.Errorf("%d calls of Data, want 1", r.of(a).calls+r.of(b).calls)
	}
	if heir == nil || heir.slot != a.slot && heir.slot != b.slot {
		r.Fatal("the slot was not used again")
	}
	if r.of(heir).calls != 0 {
		r.Error("the heir of the slot got an event of the former holder")
	}
	if got := r.l.Stats().StaleEvents; got != 1 {
		r.Errorf("%d stale events, want 1", got)
	}
	dead := a
	if heir.slot == b.slot {
		dead = b
	}
	if r.l.Conn(dead.ID()) != nil || r.l.Conn(heir.ID()) != heir {
		r.Error("the name of the former holder finds a connection, or that of the heir does not")
	}
	r.onClosed = nil
}

// Open may end its connection.
func TestLoopEndInOpen(t *testing.T) { eachBackend(t, endInOpen) }

func endInOpen(r *rig) {
	r.turn() // what is written before the first turn waits for it with some back ends
	for name, end := range map[string]func(*Conn){
		"abort": func(c *Conn) { c.Abort(nil) },
		"flush": func(c *Conn) { c.Write([]byte("bye")); c.CloseAfterFlush(0, nil) },
	} {
		r.onOpen = end
		c, p := r.unix()
		if !r.of(c).closed {
			r.Errorf("%s: not closed when Add returned", name)
		}
		if got := string(p.read()); name == "flush" && got != "bye" {
			r.Errorf("peer got %q", got)
		}
	}
}

// Closed may end others, one after the other.
func TestLoopClosedEndsNext(t *testing.T) { eachBackend(t, closedEndsNext) }

func closedEndsNext(r *rig) {
	var conns []*Conn
	for range 50 {
		c, _ := r.unix()
		conns = append(conns, c)
	}
	n := 0
	r.onClosed = func(*Conn, error) {
		if n++; n < len(conns) {
			conns[n].Abort(fmt.Errorf("number %d", n))
		}
	}
	r.do(func() { conns[0].Abort(nil) })
	if n != len(conns) || r.l.Stats().Conns != 0 {
		r.Errorf("%d closed, %d left", n, r.l.Stats().Conns)
	}
}

// Conns may be ended while it yields them.
func TestLoopEndWhileRanging(t *testing.T) { eachBackend(t, endWhileRanging) }

func endWhileRanging(r *rig) {
	for range 10 {
		r.unix()
	}
	seen := 0
	r.do(func() {
		for c := range r.l.Conns() {
			seen++
			for o := range r.l.Conns() {
				if o != c {
					o.Abort(nil)
				}
			}
		}
	})
	if seen != 1 || r.l.Stats().Conns != 1 {
		r.Errorf("%d yielded, %d left; want 1 and 1", seen, r.l.Stats().Conns)
	}
}

// An ender aborts connections when its timer expires or its watch is ready.
type ender struct{ conns []*Conn }

func (e *ender) end() {
	for _, c := range e.conns {
		c.Abort(nil)
	}
}

func (e *ender) Expired(*Loop, Timer) { e.end() }
func (e *ender) Ready(*Watch, uint32) { e.end() }

// Timers, posted functions and watches may end connections.
func TestLoopEndFromOutside(t *testing.T) { eachBackend(t, endFromOutside) }

func endFromOutside(r *rig) {
	event, err := unix.Eventfd(1, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		r.Fatal(err)
	}
	defer unix.Close(event)
	for name, arm := range map[string]func(*ender){
		"timer":  func(e *ender) { r.l.Schedule(Timer{Deadline: 1, Handler: e, Conn: e.conns[0].ID()}) },
		"posted": func(e *ender) { r.l.Post(e.end) },
		"watch": func(e *ender) {
			w, err := r.l.Watch(event, unix.EPOLLIN, e)
			if err != nil {
				r.Fatal(err)
			}
			r.Cleanup(w.Close)
		},
	} {
		a, p := r.unix()
		b, q := r.unix()
		arm(&ender{[]*Conn{a, b}})
		p.write("x")
		q.write("x")
		r.turn()
		if !r.of(a).closed || !r.of(b).closed {
			r.Errorf("%s: not closed after a turn", name)
		}
	}
}

// A Dropped that makes its own connection pay again is called in the next turn.
func TestLoopDroppedPaysAgain(t *testing.T) { eachBackend(t, droppedPaysAgain) }

// The connection that owes the most pays for each message to another, which it
// sends when it hears of the last loss. No queue drops anything in the callback:
// the bound over all is reached when the kernel has refused the message.
func droppedPaysAgain(r *rig) {
	const others = 5
	r.use(Config{Memory: 400_000})
	conns, _ := r.stuckConns(1+others, &Options{Queue: 1 << 20, Overflow: DropOldest})
	rich, conns := conns[0], conns[1:]
	for range 350 {
		r.do(func() { rich.Write(make([]byte, 1000)) })
	}
	send := func(size int) {
		if len(conns) > 0 {
			conns[0].Write(make([]byte, size))
			conns = conns[1:]
		}
	}
	r.onDropped = func(*Conn) { send(20_000) }
	r.l.Post(func() { send(60_000) })
	r.spin("a message to each", func() bool {
		before := r.of(rich).reports
		r.turn()
		if n := r.of(rich).reports - before; n > 1 {
			r.Fatalf("Dropped was called %d times in one turn", n)
		}
		return len(conns) == 0
	})
	if n := r.of(rich).reports; n < others-1 {
		r.Fatalf("Dropped was called %d times; the test needs a loss for each message", n)
	}
}
