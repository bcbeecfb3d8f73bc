// SPDX-License-Identifier: Apache-2.0

package service

import (
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"

	"penstock/daemon/internal/report"
	"penstock/evloop"
)

// TestBridgeWrite: messages reach the device whole and in order, also those of a client
// that sends them before the device is open, and the last one without an end.
func TestBridgeWrite(t *testing.T) {
	bothBackEnds(t, func(t *testing.T, bounds evloop.Config) {
		p := newPlug(t)
		p.in()
		r := bridgeOn(t, bounds, p, "write = 'any'")
		a, b := r.dial(), r.dial()
		a.send("a1\r\na2\nha")
		p.hears("a1\r\na2\n")
		b.send("b1\n")
		p.hears("b1\n")
		a.send("lf\nrest")
		p.hears("half\n")
		a.shut()
		p.hears("rest\n") // or the next message would go on with it
		a.wantEOF()
		b.send(strings.Repeat("x", 5000) + "\n")
		if got := b.rest(); got != "ERR line too long\n" {
			t.Errorf("a client that sends too long a line gets %q", got)
		}
		p.out()
	})
}

// tooMuch is more than a device takes that nobody reads from.
var tooMuch = strings.Repeat(strings.Repeat("x", 63)+"\n", 4096)

// fill has c write so much, and waits until it waits for the device.
func (r *rig) fill(c *testClient) {
	r.t.Helper()
	go func() { _, _ = io.WriteString(c.conn, tooMuch) }()
	r.until("a client that waits for a full device", func() bool {
		return r.bridge().waiting.n == 1 && !r.bridge().source.(*deviceSource).Ready()
	})
}

// TestBridgeFullDevice: a device that takes nothing has its writers wait, loses none of
// their messages, and is read meanwhile.
func TestBridgeFullDevice(t *testing.T) {
	bothBackEnds(t, func(t *testing.T, bounds evloop.Config) {
		p, r := bridgeUp(t, bounds, "write = 'any'")
		a, b := r.dial(), r.dial()
		sent := make(chan error, 1)
		go func() {
			_, err := io.WriteString(a.conn, tooMuch)
			sent <- err
		}()
		r.until("a client that waits", func() bool { return r.bridge().waiting.n == 1 })
		p.says("still here\n")
		b.want("still here\n")
		p.hears(tooMuch)
		if err := <-sent; err != nil {
			t.Error(err)
		}
		r.wantLost(report.LostAbsent, 0)
	})
}

// TestBridgeWaitingClients: those that wait for a device that does not take their message
// are let go, and when the device goes they learn that it is lost.
func TestBridgeWaitingClients(t *testing.T) {
	p, r := bridgeUp(t, evloop.Config{}, "write = 'any'")
	fill, leaves, late, ends := r.dial(), r.dial(), r.dial(), r.dial()
	r.fill(fill)
	for i, c := range []*testClient{leaves, late, ends} {
		c.send("y\n")
		r.until("another one", func() bool { return r.bridge().waiting.n == i+2 })
	}
	r.do(func() {
		r.loop.Conn(leaves.id).Abort(nil)
		r.bridge().Expired(r.loop, evloop.Timer{Deadline: r.loop.Now(), Kind: timerBlocked, Conn: late.id})
		r.bridge().Drain(r.loop.Conn(ends.id), r.loop.Conn(ends.id).Input(), patience)
	})
	r.wantEnd(evloop.ErrAborted)
	late.wantEOF()
	ends.wantEOF()
	late.conn.Close()
	r.wantEnd(ErrNotTaken)
	ends.conn.Close()
	r.wantEnd(ErrUnanswered)
	r.do(func() {
		if n := r.bridge().waiting.n; n != 1 {
			t.Errorf("%d clients wait, want one", n)
		}
	})
	p.out()
	r.until("the loss of what waited", func() bool { return r.lost[report.LostAbsent] > 0 && r.bridge().waiting.n == 0 })
}

// A meter is a source that takes as many messages as it is told.
type meter struct {
	source
	room int
	gone bool
	got  []string
}

func (m *meter) Offer(p []byte) verdict {
	if m.gone {
		return away
	}
	if m.room == 0 {
		return full
	}
	m.room--
	m.got = append(m.got, string(p))
	return taken
}

// bridgeOnMeter serves a bridge of such a source, with the keys in text.
func bridgeOnMeter(t *testing.T, text string) (*rig, *meter) {
	t.Helper()
	m := new(meter)
	r := serve(t, "kind='bridge'\ndevice='/nonexistent/tty'\n"+text, func(r *rig) {
		m.source = r.bridge().source
		r.bridge().source = m
	})
	return r, m
}

// TestBridgeFairWriters: one line gets through to a slow source before the rest of a
// backlog that came first, and a client of which nothing is taken does not get more time
// each time that others are served.
func TestBridgeFairWriters(t *testing.T) {
	r, m := bridgeOnMeter(t, "write='any'")
	round := func(room, wait int) (end evloop.Time) {
		r.do(func() {
			m.room = room
			r.bridge().Proceed()
		})
		r.until("those that wait", func() bool {
			line := &r.bridge().waiting
			if m.room > 0 || line.n != wait {
				return false
			}
			end = line.last.until
			return true
		})
		return end
	}
	much, little := r.dial(), r.dial()
	much.send(strings.Repeat("much\n", 1000))
	round(0, 1)
	little.send("little\n")
	before := round(0, 2)
	if after := round(0, 2); after != before {
		t.Errorf("a client that goes on in vain may wait until %d, and before it until %d", after, before)
	}
	round(2, 2)
	round(2, 1)
	r.do(func() {
		if want := []string{"much\n", "much\n", "little\n", "much\n"}; !slices.Equal(m.got, want) {
			t.Errorf("the source got %q, want %q", m.got, want)
		}
	})
}

// TestBridgeLastWordsInVain: when the source goes in a transaction, the last words of all
// clients that wait are lost one after the other, and not one within the other: there may
// be thousands.
func TestBridgeLastWordsInVain(t *testing.T) {
	r, m := bridgeOnMeter(t, inTurns)
	var depths []int
	r.do(func() {
		m.room = 1
		r.bridge().env.Lose = func(reason report.Reason, n int) {
			if r.lose(reason, n); reason == report.LostAbsent {
				depths = append(depths, runtime.Callers(0, make([]uintptr, 1000)))
			}
		}
	})
	r.dial().send("ask\n")
	r.untilTurn(asked)
	var last []*testClient
	for i := range 3 {
		c := r.dial()
		c.send("word")
		c.shut()
		r.untilWaiting(i + 1)
		last = append(last, c)
	}
	r.do(func() {
		m.gone = true
		r.bridge().lostSource()
		if len(depths) != 3 || slices.Max(depths) != depths[0] {
			t.Errorf("the words are lost %d calls deep", depths)
		}
	})
	for _, c := range last {
		c.wantEOF()
	}
	r.wantLost(report.LostAbsent, 3)
}

// TestBridgeFirstWriter: the first client that writes holds the device until it leaves.
// One that only listens keeps nobody out, and what others send is counted.
func TestBridgeFirstWriter(t *testing.T) {
	bothBackEnds(t, func(t *testing.T, bounds evloop.Config) {
		p, r := bridgeUp(t, bounds, "write = 'first'")
		listener, a, b := r.dial(), r.dial(), r.dial()
		a.send("a1\n")
		p.hears("a1\n")
		b.send("b1\nb2\n")
		r.until("the loss", func() bool { return r.lost[report.LostHeld] == 2 })
		r.log.wait(t, "message dropped, another client holds the source conn=3 bytes=3 reason=held", 1)
		a.send("a2\n")
		p.hears("a2\n")
		p.says("to all\n")
		for _, c := range []*testClient{listener, a, b} {
			c.want("to all\n")
		}
		a.conn.Close()
		r.wantEnd(nil)
		b.send("b3\n")
		p.hears("b3\n")
		a = r.dial()
		a.send("a3\n")
		r.until("the loss", func() bool { return r.lost[report.LostHeld] == 3 })
		r.adjust(p, "write='any'")
		a.send("a4\n")
		p.hears("a4\n")
	})
}
