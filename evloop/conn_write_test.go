// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"
)

// Write, WriteStatic and Send keep their order.
func TestLoopOutputOrder(t *testing.T) { eachBackend(t, outputOrder) }

func outputOrder(r *rig) {
	_, p := r.tcp()
	shared := NewMessage([]byte("<shared>"))
	static := bytes.Repeat([]byte("s"), borrowMin)
	r.onData = func(c *Conn, b []byte) int {
		c.Write([]byte("<1>"))
		c.WriteStatic(static)
		c.Write([]byte("<2>"))
		c.Send(shared)
		c.WriteStatic(b)
		c.Write([]byte("<3>"))
		c.Send(shared)
		return len(b)
	}
	p.write("in")
	r.gets(p, []byte("<1>"+string(static)+"<2><shared>in<3><shared>"))
}

// The order holds for messages of any size to a slow peer.
func TestLoopOutputSlowPeer(t *testing.T) { eachBackend(t, outputSlowPeer) }

// Whatever way it takes (gathered, queued, coalesced, shared) and however
// little the kernel takes at a time, a byte goes out once and in its place.
func outputSlowPeer(r *rig) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 0))
		c, p := r.unix()
		unix.SetsockoptInt(c.FD(), unix.SOL_SOCKET, unix.SO_SNDBUF, 4096)
		c.SetOptions(&Options{Queue: 4 << 20})
		source := make([]byte, 128<<10)
		for i := range source {
			source[i] = byte(rng.Uint32())
		}
		var want, got []byte
		for len(want) < 1<<20 {
			r.do(func() {
				for range rng.IntN(100) {
					size := 1 << rng.IntN(12)
					if rng.IntN(50) == 0 {
						size = 80 << 10 // more than the scratch buffer
					}
					m := source[rng.IntN(1000):][:size]
					switch rng.IntN(3) {
					case 0:
						c.Write(m)
					case 1:
						c.WriteStatic(m)
					case 2:
						c.Send(NewMessage(m))
					}
					want = append(want, m...)
				}
			})
			got = append(got, p.read()...)
		}
		r.spin("everything", func() bool {
			got = append(got, p.read()...)
			return len(got) >= len(want)
		})
		if !bytes.Equal(got, want) {
			r.Fatalf("seed %d: got %d bytes, want %d; they agree on the first %d", seed, len(got), len(want), commonPrefix(got, want))
		}
		if c.BytesOut() != uint64(len(want)) || c.Queued() != 0 {
			r.Errorf("seed %d: BytesOut %d, Queued %d; want %d and 0", seed, c.BytesOut(), c.Queued(), len(want))
		}
	}
}

// More pieces than one gathered write takes arrive whole.
func TestLoopManyPieces(t *testing.T) { eachBackend(t, manyPieces) }

func manyPieces(r *rig) {
	c, p := r.tcp()
	var want []byte
	pieces := make([][]byte, 5*maxVectors)
	for i := range pieces {
		pieces[i] = bytes.Repeat([]byte{byte(i)}, borrowMin)
		want = append(want, pieces[i]...)
	}
	r.do(func() {
		for _, b := range pieces {
			c.WriteStatic(b)
		}
	})
	r.gets(p, want)
	r.do(func() {
		for _, b := range pieces {
			c.Send(NewMessage(b))
		}
	})
	r.gets(p, want)
}

// A message larger than every buffer arrives whole.
func TestLoopHugeMessage(t *testing.T) { eachBackend(t, hugeMessage) }

func hugeMessage(r *rig) {
	huge := bytes.Repeat([]byte("0123456789abcdef"), 300_000)
	for _, write := range []func(*Conn) bool{
		func(c *Conn) bool { return c.Write(huge) },
		func(c *Conn) bool { return c.WriteStatic(huge) },
		func(c *Conn) bool { return c.Send(NewMessage(huge)) },
	} {
		c, p := r.tcp()
		r.do(func() {
			if !write(c) {
				r.Error("refused")
			}
		})
		r.gets(p, huge)
	}
}

// What Write was given may be reused at once.
func TestLoopWriteCopies(t *testing.T) { eachBackend(t, writeCopies) }

func writeCopies(r *rig) {
	c, p := r.tcp()
	stuck, behind := r.unix()
	before := r.stick(stuck)
	buf := make([]byte, 4)
	r.do(func() {
		for i := range 3 {
			copy(buf, fmt.Sprintf("<%02d>", i))
			c.Write(buf)
			stuck.Write(buf)
		}
		clear(buf)
	})
	r.gets(p, []byte("<00><01><02>"))
	r.gets(behind, append(before, "<00><01><02>"...))
}

// What WriteStatic was given may change after the callback.
func TestLoopStaticCopiesLate(t *testing.T) { eachBackend(t, staticCopiesLate) }

func staticCopiesLate(r *rig) {
	c, p := r.unix()
	unix.SetsockoptInt(c.FD(), unix.SOL_SOCKET, unix.SO_SNDBUF, 4096)
	buf := bytes.Repeat([]byte("static"), 20_000)
	want := bytes.Clone(buf)
	r.do(func() { c.WriteStatic(buf) })
	if c.Queued() == 0 {
		r.Fatal("the kernel took everything; the test needs a queue")
	}
	clear(buf)
	r.gets(p, want)
}

// One callback writes to many connections.
func TestLoopWriteToOthers(t *testing.T) { eachBackend(t, writeToOthers) }

func writeToOthers(r *rig) {
	speaker, p := r.tcp()
	var peers []*peer
	var conns []*Conn
	for range 10 {
		c, q := r.unix()
		conns, peers = append(conns, c), append(peers, q)
	}
	r.onData = func(c *Conn, b []byte) int {
		for _, o := range conns {
			o.Write([]byte("a"))
			c.Write([]byte("."))
			o.Write([]byte("b"))
		}
		return len(b)
	}
	p.write("go")
	r.gets(p, []byte(".........."))
	for _, q := range peers {
		r.gets(q, []byte("ab"))
	}
	if speaker.Queued() != 0 {
		r.Errorf("%d bytes queued", speaker.Queued())
	}
}

// What was written before Run goes out.
func TestLoopWriteBeforeRun(t *testing.T) { eachBackend(t, writeBeforeRun) }

func writeBeforeRun(r *rig) {
	c, p := r.tcp()
	c.Write([]byte("early"))
	done := make(chan error)
	r.l.Post(r.l.Stop)
	go func() { done <- r.l.Run() }()
	if err := <-done; err != nil {
		r.Fatal(err)
	}
	arrives(r.T, p.fd, unix.POLLIN)
	if got := string(p.read()); got != "early" {
		r.Errorf("peer got %q", got)
	}
}

// Drained comes once, from the high to the low mark.
func TestLoopDrainedOnce(t *testing.T) { eachBackend(t, drainedOnce) }

func drainedOnce(r *rig) {
	c, p := r.unix()
	c.SetOptions(&Options{Queue: 32 << 10, LowWater: 1 << 10})
	r.stick(c)
	r.onDrained = func(c *Conn) {
		if c.Queued() > 1<<10 || c.Full() {
			r.Errorf("Drained with %d bytes queued, Full %t", c.Queued(), c.Full())
		}
	}
	for want := 1; want <= 3; want++ {
		r.stick(c) // so that what follows stays in the queue
		r.do(func() {
			for !c.Full() {
				c.Write(make([]byte, 1000))
			}
		})
		if c.Queued() < 32<<10 || !c.Full() {
			r.Fatalf("%d bytes queued, Full %t; want a full queue", c.Queued(), c.Full())
		}
		r.spin("Drained", func() bool {
			p.read()
			return r.of(c).drained == want
		})
		for range 5 {
			r.turn()
			p.read()
		}
		if got := r.of(c).drained; got != want {
			r.Errorf("Drained %d times, want %d", got, want)
		}
	}
}

// Drained does not come for a queue that was never full.
func TestLoopDrainedNever(t *testing.T) { eachBackend(t, drainedNever) }

func drainedNever(r *rig) {
	c, p := r.unix()
	r.stick(c)
	r.spin("an empty queue", func() bool {
		p.read()
		return c.Queued() == 0
	})
	r.turn()
	if n := r.of(c).drained; n != 0 {
		r.Errorf("Drained %d times, want none", n)
	}
}

// The handler is told of a full queue while it writes.
func TestLoopFullWhileWriting(t *testing.T) { eachBackend(t, fullWhileWriting) }

// Full is true as soon as a callback has written so much, even if the kernel
// will take it all: otherwise a handler with an endless supply would never stop.
func fullWhileWriting(r *rig) {
	c, p := r.tcp()
	c.SetOptions(&Options{Queue: 10_000})
	n := 0
	r.do(func() {
		for !c.Full() {
			c.Write(make([]byte, 1000))
			n++
		}
	})
	if n != 10 {
		r.Errorf("full after %d bytes, want 10000", 1000*n)
	}
	r.gets(p, make([]byte, 10_000))
	r.spin("Drained", func() bool { return r.of(c).drained == 1 })
}

// A peer that has gone is noticed while a callback writes.
func TestLoopWriteToGone(t *testing.T) { eachBackend(t, writeToGone) }

// What is gathered is sent when there is no room for more; if that fails the
// handler is told by the next Write, and Closed follows with the reason.
func writeToGone(r *rig) {
	for name, policy := range map[string]Overflow{"no room to gather": Pause, "no room in the queue": DropOldest} {
		c, p := r.unix()
		c.SetOptions(&Options{Queue: 10_000, Overflow: policy})
		r.do(func() {
			p.close() // unnoticed, because events are asked for once a turn
			n := 0
			for c.Write(make([]byte, 1000)) && n < 1000 {
				n++
			}
			if n == 1000 {
				r.Errorf("%s: every message was taken", name)
			}
		})
		r.ends(c, unix.EPIPE)
	}
}

// An empty message is nothing.
func TestLoopEmptyMessage(t *testing.T) { eachBackend(t, emptyMessage) }

func emptyMessage(r *rig) {
	c, p := r.tcp()
	r.do(func() {
		for _, ok := range []bool{c.Write(nil), c.WriteStatic(nil), c.Send(NewMessage(nil))} {
			if !ok {
				r.Error("an empty message was refused")
			}
		}
		c.Write([]byte("x"))
	})
	r.gets(p, []byte("x"))
}

// A closing connection takes no message.
func TestLoopClosingTakesNothing(t *testing.T) { eachBackend(t, closingTakesNothing) }

func closingTakesNothing(r *rig) {
	for name, end := range map[string]func(*Conn){
		"CloseAfterFlush": func(c *Conn) { c.CloseAfterFlush(patience, nil) },
		"Abort":           func(c *Conn) { c.Abort(nil) },
	} {
		c, _ := r.tcp()
		r.do(func() {
			end(c)
			if !c.Closing() || c.Write([]byte("x")) || c.WriteStatic([]byte("x")) || c.Send(NewMessage([]byte("x"))) {
				r.Errorf("after %s: Closing %t, or a message was taken", name, c.Closing())
			}
		})
	}
}

func TestGatherAdvance(t *testing.T) {
	tests := []struct {
		name  string
		n     int
		left  string
		begun bool
	}{
		{"nothing", 0, "one|two|three", false},
		{"within the first", 2, "e|two|three", true},
		{"a whole piece", 3, "two|three", false},
		{"into the second", 4, "wo|three", true},
		{"into the last", 10, "e", true},
		{"everything", 11, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := gather{pieces: [][]byte{[]byte("one"), []byte("two"), []byte("three")}, bytes: 11}
			g.advance(tt.n)
			if got := string(bytes.Join(g.pieces, []byte("|"))); got != tt.left || g.begun != tt.begun || g.bytes != 11-tt.n {
				t.Errorf("advance(%d): %q, begun %t, %d bytes; want %q, %t", tt.n, got, g.begun, g.bytes, tt.left, tt.begun)
			}
			for _, p := range g.pieces[len(g.pieces):cap(g.pieces)] {
				if p != nil {
					t.Errorf("advance(%d) keeps %q, which was sent", tt.n, p)
				}
			}
		})
	}
}
