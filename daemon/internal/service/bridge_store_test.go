// SPDX-License-Identifier: Apache-2.0

package service

import (
	"io"
	"strings"
	"testing"

	"penstock/daemon/internal/report"
	"penstock/daemon/internal/view"
	"penstock/evloop"
)

// untilAbsent waits until the bridge knows that there is no device.
func (r *rig) untilAbsent() {
	r.t.Helper()
	r.until("the news that there is no device", func() bool { return !r.bridge().source.(*deviceSource).Opening() })
}

// untilStored waits for so many messages that wait for the device.
func (r *rig) untilStored(n int) {
	r.t.Helper()
	r.until("stored messages", func() bool { return len(r.bridge().store.list) == n })
}

// TestBridgeStore: with absent = "queue" messages wait for the device, those of clients that
// have left too, and reach it in order before what is said then. What is beyond the bound
// is dropped and counted.
func TestBridgeStore(t *testing.T) {
	bothBackEnds(t, func(t *testing.T, bounds evloop.Config) {
		p := newPlug(t)
		r := bridgeOn(t, bounds, p, "write = 'any'\nabsent = 'queue'\nqueue = 4096\nmax_line = 4000")
		r.untilAbsent()
		a, b := r.dial(), r.dial()
		a.send("a1\n")
		r.untilStored(1)
		b.send("b1\nb2\n")
		r.untilStored(3)
		a.send(strings.Repeat("x", 3900) + "\n")
		r.until("the loss", func() bool { return r.lost[report.LostAbsent] == 1 })
		a.conn.Close()
		r.wantEnd(nil)
		r.do(func() {
			var v view.Service
			if r.bridge().View(&v); v.Source.Queued != 9 {
				t.Errorf("%d bytes wait, want 9", v.Source.Queued)
			}
		})
		p.in()
		p.hears("a1\nb1\nb2\n")
		b.send("b3\n")
		p.hears("b3\n")
		p.out()
		r.untilUp(false)
		b.send("never\n")
		r.untilStored(1)
		r.do(func() { r.bridge().loseStore() })
		r.wantLost(report.LostAbsent, 2)
	})
}

// TestBridgeStoredTransactions: the reply to a stored message goes to the client that has
// sent it, one at a time.
func TestBridgeStoredTransactions(t *testing.T) {
	p := newPlug(t)
	r := bridgeOn(t, evloop.Config{}, p, inTurns+"absent = 'queue'")
	r.untilAbsent()
	a, b, gone := r.dial(), r.dial(), r.dial()
	gone.send("g1\n")
	r.untilStored(1)
	a.send("a1\n")
	r.untilStored(2)
	b.send("b1\n")
	r.untilStored(3)
	gone.conn.Close()
	r.wantEnd(nil)
	p.in()
	p.hears("g1\n")
	a.send("a2\n")
	r.untilWaiting(1)
	p.says("re g1\n")
	p.hears("a1\n")
	p.says("re a1\n")
	p.hears("b1\n")
	p.says("re b1\n")
	p.hears("a2\n")
	p.says("re a2\n")
	a.want("re a1\nre a2\n")
	b.want("re b1\n")
	r.log.wait(t, "reply for nobody dropped conn=3", 1)
	p.out()
}

// TestBridgeStoredHalfClosed: a client that has said all before the device is there is let
// go, and its message reaches the device. In transactions it stays for the reply.
func TestBridgeStoredHalfClosed(t *testing.T) {
	for _, write := range []string{"any", "first"} {
		p := newPlug(t)
		r := bridgeOn(t, evloop.Config{}, p, "absent = 'queue'\nwrite = '"+write+"'")
		r.untilAbsent()
		a := r.dial()
		a.send("whole\nand the rest")
		a.shut()
		a.wantEOF()
		r.wantEnd(nil)
		p.in()
		p.hears("whole\nand the rest")
		p.out()
	}
	bothBackEnds(t, func(t *testing.T, bounds evloop.Config) {
		p := newPlug(t)
		r := bridgeOn(t, bounds, p, inTurns+"absent = 'queue'")
		r.untilAbsent()
		a, b := r.dial(), r.dial()
		a.send("a1\na2\n")
		a.shut()
		b.send("b1\n")
		b.shut()
		r.untilStored(3)
		p.in()
		for range 3 {
			asked := make([]byte, len("a1\n"))
			if _, err := io.ReadFull(p.master, asked); err != nil {
				t.Fatal(err)
			}
			p.says("re " + string(asked))
		}
		a.want("re a1\nre a2\n")
		a.wantEOF()
		b.want("re b1\n")
		b.wantEOF()
		r.wantEnd(nil)
		r.wantEnd(nil)
		p.out()
	})
}

// TestBridgeStoredOtherwise: a client that has stayed for a reply is let go when other keys
// give none.
func TestBridgeStoredOtherwise(t *testing.T) {
	p := newPlug(t)
	const keys = "kind = 'bridge'\nabsent = 'queue'\n"
	r := bridgeOn(t, evloop.Config{}, p, inTurns+"absent = 'queue'")
	r.untilAbsent()
	a := r.dial()
	a.send("a1\n")
	a.shut()
	r.untilStored(1)
	r.do(func() {
		r.bridge().Adjust(parse(t, keys+"device = '"+r.bridge().keys.Device+"'\nwrite = 'any'\n"))
	})
	a.wantEOF()
	r.wantEnd(nil)
	p.in()
	p.hears("a1\n")
	p.out()
}

// TestBridgeBanner: a newcomer learns whether the source is there, before all else.
func TestBridgeBanner(t *testing.T) {
	p := newPlug(t)
	r := bridgeOn(t, evloop.Config{}, p, "banner = '# the scales are {state}'\nhistory = 1")
	r.untilAbsent()
	r.dial().want("# the scales are absent\n")
	p.in()
	r.untilUp(true)
	a := r.dial()
	a.want("# the scales are up\n")
	p.says("12 kg\n")
	a.want("12 kg\n")
	r.dial().want("# the scales are up\n12 kg\n")
	p.out()
}

// TestBridgeOutputLost: what a device had not taken when it went is counted and logged.
func TestBridgeOutputLost(t *testing.T) {
	bothBackEnds(t, func(t *testing.T, bounds evloop.Config) {
		p, r := bridgeUp(t, bounds, "write = 'any'")
		r.fill(r.dial())
		p.out()
		r.log.wait(t, "device closed with output not sent", 1)
		r.do(func() {
			var v view.Service
			if r.bridge().View(&v); v.Source.Unsent == 0 {
				t.Error("no bytes are counted")
			}
		})
	})
}
