// SPDX-License-Identifier: Apache-2.0

package evloop

import "testing"

// A loop gives back what it needs only for a while. Otherwise it would keep the memory
// of others alive.

// What was sent is not kept.
func TestLoopSentIsReleased(t *testing.T) { eachBackend(t, sentIsReleased) }

func sentIsReleased(r *rig) {
	long := make([]byte, 2*borrowMin)
	for _, open := range []func() (*Conn, *peer){r.unix, r.seqpacket} {
		c, p := open()
		got, want := 0, 0
		write := func() {
			for range 3 {
				c.Send(NewMessage(long))
				c.WriteStatic(long)
				c.Write(long)
				want += 3 * len(long)
			}
		}
		r.do(write)
		r.clog(c)
		r.do(write)
		r.spin("all output", func() bool { got += len(p.read()); return got >= want && c.Queued() == 0 })
	}
	e, ok := r.l.be.(*epoll)
	if !ok {
		e = r.l.be.(*ring).ep
	}
	for i := range e.pieces {
		if e.pieces[i] != nil || r.l.sys.iov[i].Base != nil {
			r.Fatalf("piece %d of a send is kept: %d bytes, vector %t", i, len(e.pieces[i]), r.l.sys.iov[i].Base != nil)
		}
	}
	g := &r.l.gather
	for i, p := range g.pieces[:cap(g.pieces)] {
		if p != nil {
			r.Fatalf("piece %d of gathered output is kept: %d bytes", i, len(p))
		}
	}
}

// The nodes of a burst are given back.
func TestLoopNodesAreReleased(t *testing.T) { eachBackend(t, nodesAreReleased) }

func nodesAreReleased(r *rig) {
	conns, _ := r.stuckConns(1, &Options{Queue: 1 << 20, Overflow: DropNewest})
	m := NewMessage([]byte("x"))
	r.do(func() {
		for range 2 * slabKept {
			conns[0].Send(m)
		}
	})
	if n := len(r.l.nodes.nodes); n < 2*slabKept {
		r.Fatalf("%d nodes; the test needs many", n)
	}
	r.do(func() { conns[0].Abort(nil) })
	if n := len(r.l.nodes.nodes); n > slabKept {
		r.Errorf("%d nodes are kept, want %d at most", n, slabKept)
	}
}

// The list of a storm of posts is given back.
func TestLoopPostsAreReleased(t *testing.T) { eachBackend(t, postsAreReleased) }

func postsAreReleased(r *rig) {
	for range 2 { // there are two lists
		ran := 0
		for range 2 * postedKept {
			r.l.Post(func() { ran++ })
		}
		r.spin("the storm", func() bool { return ran == 2*postedKept })
	}
	w := &r.l.wake
	for _, fs := range [][]posting{r.l.posted, w.posted, w.spare} {
		if cap(fs) > postedKept {
			r.Errorf("a list of %d functions is kept, want %d at most", cap(fs), postedKept)
		}
	}
	if r.l.posted != nil {
		r.Error("the list of functions that have run is kept")
	}
}
