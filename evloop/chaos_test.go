// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

// Histories against the real kernel. What a simulated kernel cannot show is
// whether this one does what the simulation believes: these histories are
// short, and the same promise is kept by every back end.

// An echoed is one connection of a history.
type echoed struct {
	c         *Conn
	p         *peer
	sent, got []byte
	orderly   bool // nobody has cut it short
}

// Whatever peers and handlers do, an echo is a prefix and the end comes once.
func TestLoopChaos(t *testing.T) { eachBackend(t, chaos) }

func chaos(r *rig) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		// The least memory a ring takes, so that buffers run out all the time.
		r.use(Config{ReadBudget: 1 << (10 + rng.IntN(7)), IOUring: &IOUring{Memory: 1}})
		r.onData = func(c *Conn, b []byte) int {
			n := rng.IntN(len(b) + 1)
			if c.Write(b[:n]) && n < len(b) {
				c.Yield()
			}
			if rng.IntN(8) == 0 {
				c.Pause()
			}
			return n
		}
		r.onEOF = func(c *Conn) { c.CloseAfterFlush(patience, nil) }
		var all []*echoed
		for range 1 + rng.IntN(30) {
			all = append(all, r.echoed(rng))
		}
		for range 300 {
			r.disturb(all[rng.IntN(len(all))], rng)
			if rng.IntN(3) == 0 {
				r.turn()
			}
		}
		r.calmDown(all, seed)
	}
}

func (r *rig) echoed(rng *rand.Rand) *echoed {
	e := &echoed{orderly: true}
	if rng.IntN(2) == 0 {
		e.c, e.p = r.tcp()
	} else {
		e.c, e.p = r.unix()
	}
	e.c.SetOptions(&Options{Queue: 1 << (8 + rng.IntN(10))})
	return e
}

// chaosActs is what may happen to one connection.
var chaosActs = []simChoice[func(*rig, *echoed, *rand.Rand)]{
	{1, "reset", func(_ *rig, e *echoed, _ *rand.Rand) { e.orderly = false; e.p.reset() }},
	{1, "abort", func(r *rig, e *echoed, _ *rand.Rand) { e.orderly = false; r.do(func() { e.c.Abort(nil) }) }},
	{8, "receive", func(_ *rig, e *echoed, _ *rand.Rand) { got, _ := e.p.receive(); e.got = append(e.got, got...) }},
	{5, "resume", func(r *rig, e *echoed, _ *rand.Rand) {
		r.do(func() {
			if !e.c.Closing() {
				e.c.Resume()
			}
		})
	}},
	{25, "send", func(_ *rig, e *echoed, rng *rand.Rand) { e.send(rng) }},
}

// disturb does one thing to e.
func (r *rig) disturb(e *echoed, rng *rand.Rand) {
	if e.p.fd >= 0 {
		pick(rng, chaosActs).what(r, e, rng)
	}
}

// send has the peer say something, unless it has been cut short.
func (e *echoed) send(rng *rand.Rand) {
	if !e.orderly {
		return
	}
	b := make([]byte, 1+rng.IntN(20_000))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	e.sent = append(e.sent, b[:e.p.offer(b)]...)
}

// calmDown lets everybody finish and compares.
func (r *rig) calmDown(all []*echoed, seed uint64) {
	for _, e := range all {
		if e.p.fd >= 0 {
			e.p.shut()
		}
	}
	r.onData = func(c *Conn, b []byte) int { c.Write(b); return len(b) }
	r.spin("every end", func() bool {
		for _, e := range all {
			if e.p.fd >= 0 {
				got, _ := e.p.receive()
				e.got = append(e.got, got...)
			}
			if !e.c.Closing() {
				e.c.Resume()
			}
		}
		return !slices.ContainsFunc(all, func(e *echoed) bool { return !r.of(e.c).closed })
	})
	for i, e := range all {
		if e.p.fd >= 0 {
			got, _ := e.p.receive()
			e.got = append(e.got, got...)
		}
		switch {
		case !bytes.HasPrefix(e.sent, e.got):
			r.Fatalf("seed %d, connection %d: %d bytes echoed of %d; they agree on the first %d",
				seed, i, len(e.got), len(e.sent), commonPrefix(e.got, e.sent))
		case e.orderly && len(e.got) != len(e.sent):
			r.Fatalf("seed %d, connection %d: %d bytes echoed, want all of %d (%v)",
				seed, i, len(e.got), len(e.sent), r.of(e.c).err)
		case e.orderly && r.of(e.c).err != nil:
			r.Fatalf("seed %d, connection %d: Closed(%v)", seed, i, r.of(e.c).err)
		}
		e.p.close()
	}
}
