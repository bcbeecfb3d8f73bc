// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"bytes"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// allocates fails the test when a message costs an allocation. The first rounds
// fill the pools; the peer's own buffer is made beforehand.
func allocates(t *testing.T, message func()) {
	t.Helper()
	for range 100 {
		message()
	}
	if n := testing.AllocsPerRun(1000, message); n != 0 {
		t.Errorf("%v allocations for a message, want none", n)
	}
}

// exchange has p send m, the loop turn, and p read into buf.
func exchange(t *testing.T, l *Loop, p *peer, m, buf []byte) {
	if _, err := unix.Write(p.fd, m); err != nil {
		t.Fatal(err)
	}
	for tries := 0; ; tries++ {
		if err := l.turn(false); err != nil {
			t.Fatal(err)
		}
		if n, err := unix.Read(p.fd, buf); n > 0 {
			return
		} else if err != unix.EAGAIN || tries > 1e6 {
			t.Fatalf("no reply: %v", err)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	t.Run("epoll", func(t *testing.T) { testNoAllocation(t, newEpollRig) })
	t.Run("io_uring", func(t *testing.T) { testNoAllocation(t, newRingRig) })
}

func testNoAllocation(t *testing.T, newRig func(*testing.T) *rig) {
	m, buf := bytes.Repeat([]byte("m"), 1000), make([]byte, 64<<10)
	line := NewMessage([]byte("a line of a room\n"))
	for _, tt := range []struct {
		name string
		data func(r *rig, c *Conn, p []byte) int
	}{
		{"echo by reference", func(_ *rig, c *Conn, p []byte) int { c.WriteStatic(p); return len(p) }},
		{"echo by copy", func(_ *rig, c *Conn, p []byte) int { c.Write(p); return len(p) }},
		{"many short answers", func(_ *rig, c *Conn, p []byte) int {
			for range 16 {
				c.Write([]byte("an answer\n"))
			}
			return len(p)
		}},
		{"a line to all", func(r *rig, c *Conn, p []byte) int {
			for o := range r.l.conns.all {
				o.Send(line)
			}
			return len(p)
		}},
		{"a copy to all", func(r *rig, c *Conn, p []byte) int {
			for o := range r.l.conns.all {
				o.Write(p[:10])
			}
			return len(p)
		}},
		{"input kept and shown again", func(_ *rig, c *Conn, p []byte) int {
			c.Write(p[len(p)-1:])
			if len(p) < 3000 {
				return 0
			}
			return len(p)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			h := &dataFunc{f: func(c *Conn, p []byte) int { return tt.data(r, c, p) }}
			ours, p := tcpPair(t)
			if _, err := r.l.Add(ours, h, nil); err != nil {
				t.Fatal(err)
			}
			var others []*peer
			for range 5 {
				ours, o := socketPair(t, unix.SOCK_STREAM)
				if _, err := r.l.Add(ours, h, nil); err != nil {
					t.Fatal(err)
				}
				others = append(others, o)
			}
			allocates(t, func() {
				exchange(t, r.l, p, m, buf)
				for _, o := range others {
					unix.Read(o.fd, buf)
				}
			})
		})
	}
}

// A stuck peer costs no allocation for each message either, once the queue
// has its nodes.
func TestNoAllocationWhileQueued(t *testing.T) {
	for _, policy := range []Overflow{DropOldest, DropNewest} {
		r := newEpollRig(t)
		ours, p := socketPair(t, unix.SOCK_STREAM)
		c, err := r.l.Add(ours, &dataFunc{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = p
		c.SetOptions(&Options{Queue: 4000, Overflow: policy})
		r.clog(c)
		m := make([]byte, 300)
		write := func() { c.Write(m) }
		allocates(t, func() {
			r.l.enter()
			write()
			r.l.leave()
		})
		if c.Dropped() == 0 {
			t.Errorf("%v: nothing was dropped", policy)
		}
	}
}

// Timers, posts and deadlines are reused as well.
func TestNoAllocationForTimers(t *testing.T) {
	r := newEpollRig(t)
	g := &guard{}
	f := func() {}
	allocates(t, func() {
		id := r.l.Schedule(Timer{Deadline: 1 << 62, Handler: g})
		r.l.Schedule(Timer{Deadline: 1, Handler: g})
		r.l.Cancel(id)
		r.l.Post(f)
		if err := r.l.turn(false); err != nil {
			t.Fatal(err)
		}
	})
}

// bytesPerConn is what a connection at rest may cost this package: the Conn,
// its slots in the tables, and no buffer. The handler's State is not counted.
const bytesPerConn = 200

// TestIdleConnectionHoldsNoBuffer opens connections, has each echo a message,
// keep a partial line and complete it, and counts the heap per connection.
func TestIdleConnectionHoldsNoBuffer(t *testing.T) {
	const n = 2000
	r := newEpollRig(t)
	r.l.conns.most, r.l.deadlines.most = n, n // the tables have no room to spare
	h := &dataFunc{f: func(c *Conn, p []byte) int {
		if p[len(p)-1] != '\n' {
			return 0
		}
		c.Write(p)
		return len(p)
	}}
	idle := Options{IdleTimeout: time.Hour} // which takes a place in the heap of deadlines
	fds, peers := make([]int, n), make([]*peer, n)
	for i := range n {
		fds[i], peers[i] = socketPair(t, unix.SOCK_STREAM)
	}
	m, buf := bytes.Repeat([]byte("m"), 2000), make([]byte, 64<<10)
	var before int64
	for i, fd := range fds {
		if i == 1 { // the first one has the loop make the buffers that all share
			before = heap()
		}
		c, err := r.l.Add(fd, h, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.SetOptions(&idle)
		unix.Write(peers[i].fd, m)
		r.turn()
		if len(c.Input()) != len(m) {
			t.Fatalf("kept %d bytes, want a partial line", len(c.Input()))
		}
		exchange(t, r.l, peers[i], []byte("\n"), buf)
	}
	each := float64(heap()-before) / (n - 1)
	t.Logf("%.0f bytes for each connection", each)
	if each > bytesPerConn {
		t.Errorf("%.0f bytes for each connection, want at most %d", each, bytesPerConn)
	}
	runtime.KeepAlive(peers)
}

// TestConnIsSmall: these sizes are classes of Go's allocator, and one field more would
// cost each connection the next class.
func TestConnIsSmall(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("pointers are shorter here")
	}
	if n := unsafe.Sizeof(Conn{}); n > 144 {
		t.Errorf("a Conn has %d bytes, want 144", n)
	}
	if n := unsafe.Sizeof(trouble{}); n > 48 {
		t.Errorf("a trouble has %d bytes, want 48", n)
	}
}

// TestTablesGrowOnce: a table of connections that has left the size of a few gets its
// room at once, so that it leaves one small array behind and not many large ones.
func TestTablesGrowOnce(t *testing.T) {
	tests := []struct{ most, conns, moves int }{
		{10, 200, 0}, // few
		{5000, 5000, 1},
		{manySlots, manySlots, 1},
		{1 << 30, manySlots + 1, 2},
		{0, 1024, 2}, // more than were expected
	}
	for _, tt := range tests {
		var s []byte
		moves := 0
		for range tt.conns {
			g := grown(s, tt.most)
			if cap(g) != cap(s) {
				moves++
			}
			s = append(g, 0)
		}
		if moves != tt.moves || len(s) != tt.conns {
			t.Errorf("%d of %d: moved %d times, want %d", tt.conns, tt.most, moves, tt.moves)
		}
	}
}

// heap returns what is in use after a collection.
func heap() int64 {
	runtime.GC()
	runtime.GC() // finishes the sweep of the first
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

// What is charged to the bound must be near what is really held, or the bound
// of a small board is none: small messages in buffers of their own are the
// worst. The pool rounds up to powers of two, which is not charged.
func TestChargeIsHonest(t *testing.T) {
	const conns, messages, size = 20, 1000, 10
	for policy := Pause; policy <= Disconnect; policy++ {
		r := newEpollRig(t)
		var stuck []*Conn
		for range conns {
			ours, _ := socketPair(t, unix.SOCK_STREAM)
			c, err := r.l.Add(ours, &dataFunc{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			c.SetOptions(&Options{Overflow: policy})
			r.clog(c)
			stuck = append(stuck, c)
		}
		m := make([]byte, size)
		before := heap()
		for _, c := range stuck {
			r.do(func() {
				for range messages {
					c.Write(m)
				}
			})
		}
		used, charged := heap()-before, r.l.Stats().Queued
		t.Logf("%v: %d bytes charged, %d used", policy, charged, used)
		if used > 2*charged+charged/4 {
			t.Errorf("%v: %d bytes charged for the %d that are used", policy, charged, used)
		}
		runtime.KeepAlive(stuck)
	}
}
