// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// What a turn may cost, list by list. A turn of little work has to stop early,
// and the next ones have to do the rest, in order and without sleeping.

// A turn serves a part of many timers.
func TestLoopTurnManyTimers(t *testing.T) { eachBackend(t, func(r *rig) { turnList(r, r.scheduled) }) }

// A turn runs a part of many posted functions.
func TestLoopTurnManyPosts(t *testing.T) { eachBackend(t, func(r *rig) { turnList(r, r.allPosted) }) }

// A turn serves a part of many connections that were resumed.
func TestLoopTurnManyResumed(t *testing.T) { eachBackend(t, func(r *rig) { turnList(r, r.resumed) }) }

// turnList has n entries of a list do work, more than the turn has.
func turnList(r *rig, begin func(n int, work func(i int))) {
	const n = 5*fewest + 3
	r.use(Config{Work: callWork})
	busy, _ := r.unix()
	var order []int
	begin(n, func(i int) {
		order = append(order, i)
		busy.Write([]byte("a line for everybody\n"))
	})
	for len(order) < n {
		before := len(order)
		r.turn()
		if did := len(order) - before; did > fewest || did == 0 {
			r.Fatalf("%d of the list in one turn, want 1 to %d", did, fewest)
		}
		if !r.l.leftOver() && len(order) < n && r.l.timers.heap.len() == 0 {
			r.Fatalf("%d of %d are left and the loop would sleep", n-len(order), n)
		}
	}
	if !slices.IsSorted(order) || len(order) != n {
		r.Errorf("served %v", order)
	}
}

func (r *rig) scheduled(n int, work func(int)) {
	now := monotonic()
	for i := range n {
		r.l.Schedule(Timer{
			Deadline: now - Time(n) + Time(i), Kind: i,
			Handler: timerFunc(func(_ *Loop, t Timer) { work(t.Kind) }),
		})
	}
}

func (r *rig) allPosted(n int, work func(int)) {
	for i := range n {
		r.l.Post(func() { work(i) })
	}
}

// resumed puts n connections on the ready list, in order.
func (r *rig) resumed(n int, work func(int)) {
	var conns []*Conn
	for range n {
		c, p := r.unix()
		p.write("?")
		conns = append(conns, c)
	}
	served := 0
	r.onData = func(c *Conn, p []byte) int {
		if !slices.Contains(conns, c) {
			r.Error("unknown connection")
		}
		return 0
	}
	r.until("input", func() bool {
		return !slices.ContainsFunc(conns, func(c *Conn) bool { return len(c.Input()) == 0 })
	})
	for _, c := range conns {
		c.Pause()
	}
	r.onData = func(_ *Conn, p []byte) int { work(served); served++; return len(p) }
	for _, c := range conns {
		c.Resume()
	}
}

// Clients of a burst wait for the work of others.
func TestLoopTurnAccepts(t *testing.T) { eachBackend(t, turnAccepts) }

func turnAccepts(r *rig) {
	const clients = 40
	r.use(Config{Work: 1})
	ln, _ := r.listen(clients)
	for range clients {
		dial(r.T, ln.FD())
	}
	arrives(r.T, ln.FD(), unix.POLLIN)
	for before := uint64(0); r.l.Stats().Accepted < clients; before = r.l.Stats().Accepted {
		r.turn()
		if n := r.l.Stats().Accepted - before; n > fewestAccept {
			r.Fatalf("%d accepted in a turn without work, want at most %d", n, fewestAccept)
		}
	}
}

// Many connections that end at once are closed over some turns.
func TestLoopTurnBurials(t *testing.T) { eachBackend(t, turnBurials) }

func turnBurials(r *rig) {
	const conns, most = 50, 7
	r.l.work.bury = most
	var all []*Conn
	for range conns {
		c, _ := r.unix()
		all = append(all, c)
	}
	r.turn()
	r.l.Post(func() {
		for _, c := range all {
			c.Abort(nil)
		}
	})
	for left := conns; left > 0; left = r.l.Stats().Conns {
		r.turn()
		if n := left - r.l.Stats().Conns; n > most || n == 0 {
			r.Fatalf("%d closed in one turn, want 1 to %d", n, most)
		}
		if r.l.Stats().Conns > 0 && !r.l.leftOver() {
			r.Fatal("the loop would sleep")
		}
	}
	for i, c := range all {
		if !r.of(c).closed {
			r.Errorf("connection %d: Closed was not called", i)
		}
	}
}

// A handler that looks at Spent goes on in the next turn.
func TestLoopTurnYields(t *testing.T) { eachBackend(t, turnYields) }

// turnYields: many clients say a line each, and each line goes to all of them.
func turnYields(r *rig) {
	const members, lines = 40, 30
	r.use(Config{Work: 5 * callWork})
	var all []*Conn
	var peers []*peer
	for range members {
		c, p := r.unix()
		all, peers = append(all, c), append(peers, p)
	}
	m := NewMessage([]byte("a line for everybody\n"))
	deliveries, next := 0, map[*Conn]int{}
	r.onData = func(c *Conn, p []byte) int {
		n := 0
		for n < len(p) {
			for next[c] < len(all) {
				if r.l.Spent() {
					c.Yield()
					return n
				}
				all[next[c]].Send(m)
				next[c]++
				deliveries++
			}
			next[c] = 0
			n++
		}
		return n
	}
	for _, p := range peers[:5] {
		p.write(string(make([]byte, lines)))
	}
	for want := 5 * lines * members; deliveries < want; {
		before := deliveries
		r.turn()
		if n := deliveries - before; n > 5*callWork {
			r.Fatalf("%d deliveries in one turn, want at most %d", n, 5*callWork)
		}
		for _, p := range peers {
			p.read()
		}
	}
}

// Packets of one byte count as reads.
func TestLoopTurnPackets(t *testing.T) { eachBackend(t, turnPackets) }

func turnPackets(r *rig) {
	const packets = 100
	c, p := r.seqpacket()
	reads := 0
	r.onData = func(_ *Conn, b []byte) int { reads++; return len(b) }
	for range packets {
		p.write("x")
	}
	for c.BytesIn() < packets {
		before := reads
		r.turn()
		if n := reads - before; n > readSize/readCost || n == 0 {
			r.Fatalf("%d packets read in one turn, want 1 to %d", n, readSize/readCost)
		}
	}
}

// Many queues that get room at once are sent over some turns.
func TestLoopTurnRoom(t *testing.T) { eachBackend(t, turnRoom) }

// Work that is spent before room is reported leaves all but a few queues for
// later turns, and clients that ask are answered in between.
func turnRoom(r *rig) {
	const stuck = 4*fewest + 3
	r.use(Config{Work: 1})
	var conns []*Conn
	var peers []*peer
	for range stuck {
		c, p := r.unix()
		c.SetOptions(&Options{Queue: 4 << 10})
		r.stick(c)
		conns, peers = append(conns, c), append(peers, p)
	}
	for _, p := range peers {
		for len(p.read()) > 0 { // all that the kernel holds
			continue
		}
	}
	left := func() (n int) {
		for _, c := range conns {
			if c.Queued() > 0 {
				n++
			}
		}
		return n
	}
	most := 0
	for before := left(); before > 0; before = left() {
		r.turn()
		most = max(most, before-left())
		for _, p := range peers {
			p.read()
		}
	}
	if most > fewest+1 {
		r.Errorf("%d queues sent in one turn, want %d at most", most, fewest+1)
	}
}

// What is refused is work as well.
func TestLoopTurnRefusals(t *testing.T) { eachBackend(t, turnRefusals) }

// turnRefusals has a handler write to a connection that has ended until the
// work of the turn is spent.
func turnRefusals(r *rig) {
	const work, most = 2 * callWork, 10 * callWork
	r.use(Config{Work: work})
	_, peer := r.unix()
	ended, _ := r.unix()
	m := NewMessage([]byte("a line for everybody\n"))
	asked, refused := false, 0
	r.onData = func(_ *Conn, p []byte) int {
		asked = true
		ended.Abort(nil)
		for !r.l.Spent() && refused < most {
			if ended.Send(m) {
				r.Fatal("a message was taken for a connection that has ended")
			}
			refused++
		}
		return len(p)
	}
	peer.write("x")
	for !asked {
		r.turn()
	}
	if refused > work {
		r.Fatalf("%d messages were refused in one turn, want at most %d", refused, work)
	}
}

// Hang-ups that come together are served over some turns.
func TestLoopTurnHangUps(t *testing.T) { eachBackend(t, turnHangUps) }

// Work that is spent leaves all but a few of them for later turns, so that
// clients that live come first.
func turnHangUps(r *rig) {
	const gone = 4*fewest + 3
	r.use(Config{Work: 1})
	var peers []*peer
	for range gone {
		_, p := r.tcp()
		peers = append(peers, p)
	}
	r.turn()
	r.onData = func(*Conn, []byte) int { r.Error("Data"); return 0 }
	for _, p := range peers {
		p.reset()
	}
	most := 0
	for left := gone; left > 0; left = r.l.Stats().Conns {
		r.turn()
		most = max(most, left-r.l.Stats().Conns)
	}
	if _, ringed := r.l.be.(*ring); !ringed && most > fewest+1 { // a ring tells of each by itself
		r.Errorf("%d hang-ups served in one turn, want %d at most", most, fewest+1)
	}
}

// What is done is charged.
func TestLoopTurnCharges(t *testing.T) { eachBackend(t, turnCharges) }

// turnCharges does one thing at a time, and looks what is left of the turn.
func turnCharges(r *rig) {
	const many = 1000
	r.use(Config{Work: 1 << 20})
	charged := func(what string, least int) {
		r.Helper()
		if n := r.l.work.limit - r.l.work.left; n < least {
			r.Errorf("%s: %d is charged, want %d at least", what, n, least)
		}
	}
	write := func(c *Conn, n, size int) {
		r.do(func() {
			for range n {
				c.Write(make([]byte, size))
			}
		})
	}
	c, _ := r.tcp()
	write(c, 1, 1)
	charged("a message and its send", 1+callWork)
	r.do(func() { c.lookAtOutput() })
	charged("a look at what the kernel holds", callWork)
	r.do(func() { r.l.be.pending(c, newsInput) })
	charged("a question to the kernel", callWork)
	write(c, 1, 32<<10)
	charged("bytes", 1+callWork+int(c.BytesOut()-1)/workBytes)
	if c.BytesOut() != 1+(32<<10) {
		r.Fatalf("the kernel has taken %d bytes; the test needs all", c.BytesOut())
	}
	packets, _ := r.seqpacket()
	write(packets, 10, 1)
	charged("packets", 10+10*callWork)

	conns, _ := r.stuckConns(2, &Options{Queue: 10 * many, Overflow: DropOldest})
	for _, c := range conns {
		write(c, many, 10)
		charged("messages", many)
	}
	write(conns[0], 1, 10*many)
	charged("messages that are dropped for another", many)
	r.do(func() { conns[1].Abort(nil) })
	charged("a queue that is thrown away", many)
	r.do(func() { c.Abort(nil) })
	charged("an end", buryWork)

	ln, _ := r.listen(1)
	dial(r.T, ln.FD())
	arrives(r.T, ln.FD(), unix.POLLIN)
	r.spin("the client", func() bool { return r.l.Stats().Accepted > 0 })
	charged("a client", acceptWork)
}
