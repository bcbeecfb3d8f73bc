// SPDX-License-Identifier: Apache-2.0

package service

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"penstock/daemon/internal/report"
	"penstock/evloop"
)

// inTurns is a bridge whose timeouts do not come by themselves.
const inTurns = "write = 'transaction'\nreply_timeout = '10m'\n"

// untilWaiting waits until so many clients have a message that is not taken.
func (r *rig) untilWaiting(n int) {
	r.t.Helper()
	r.until(fmt.Sprintf("%d clients that wait", n), func() bool { return r.bridge().waiting.n == n })
}

func (r *rig) untilTurn(s turnState) {
	r.t.Helper()
	r.until(fmt.Sprintf("a turn that is %v", s), func() bool { return r.bridge().turn.state == s })
}

// overdue has reply_timeout be over.
func (r *rig) overdue() {
	r.t.Helper()
	r.do(func() {
		b := r.bridge()
		r.loop.Cancel(b.turn.timer)
		b.turn.until = r.loop.Now()
		b.lookAtTurn()
	})
}

// TestBridgeTransaction: one message at a time is with the device, clients take turns, a
// reply goes to the one that asked, and what nobody asked for to all.
func TestBridgeTransaction(t *testing.T) {
	bothBackEnds(t, func(t *testing.T, bounds evloop.Config) {
		p, r := bridgeUp(t, bounds, inTurns+"history = 5")
		a, b, c := r.dial(), r.dial(), r.dial()
		a.send("a1\na2\na3\n")
		p.hears("a1\n")
		r.untilWaiting(1)
		b.send("b1\nb2\n")
		r.untilWaiting(2)
		c.send("c1\n")
		r.untilWaiting(3)
		p.says("re a1\nnews\n")
		for _, m := range []string{"a2\n", "b1\n", "c1\n", "a3\n", "b2\n"} {
			p.hears(m)
			p.says("re " + m)
		}
		r.untilTurn(free)
		p.says("end\n")
		a.want("re a1\nnews\nre a2\nre a3\nend\n")
		b.want("news\nre b1\nre b2\nend\n")
		c.want("news\nre c1\nend\n")
		r.dial().want("news\nend\n") // replies are no history
		r.wantLost(report.LostUnanswered, 0)
	})
}

// TestBridgeLeftTransaction: a client that leaves in its turn leaves it to nobody, and its
// reply goes to nobody. One that only has no more to say gets it, and then the end.
func TestBridgeLeftTransaction(t *testing.T) {
	bothBackEnds(t, func(t *testing.T, bounds evloop.Config) {
		p, r := bridgeUp(t, bounds, inTurns)
		a, b, c := r.dial(), r.dial(), r.dial()
		a.send("a1\n")
		p.hears("a1\n")
		b.send("b1\n")
		b.shut()
		r.untilWaiting(1)
		c.send("c1\nc2\n")
		r.untilWaiting(2)
		r.do(func() { r.loop.Conn(a.id).Abort(nil) })
		r.wantEnd(evloop.ErrAborted)
		p.says("re a1\n")
		p.hears("b1\n")
		r.log.wait(t, "reply for nobody dropped conn=1 bytes=6", 1)
		p.says("re b1\n")
		b.want("re b1\n")
		b.wantEOF()
		p.hears("c1\n")
		p.says("re c1\n")
		p.hears("c2\n")
		c.conn.Close()
		r.untilTurn(asked)
		p.says("re c2\n")
		r.untilTurn(free)
	})
}

// TestBridgeLateReply: a reply that comes after reply_timeout is not given to the next
// client, and a client that has asked again does not take it for that reply.
func TestBridgeLateReply(t *testing.T) {
	p, r := bridgeUp(t, evloop.Config{}, inTurns)
	a, b := r.dial(), r.dial()
	a.send("a1\n")
	p.hears("a1\n")
	r.overdue()
	r.log.wait(t, "message without a reply conn=1 reason=unanswered", 1)
	r.wantLost(report.LostUnanswered, 1)
	b.send("b1\n")
	r.untilWaiting(1)
	p.says("re a1\n")
	a.want("re a1\n")
	p.hears("b1\n")
	p.says("re b1\n")
	b.want("re b1\n")

	a.send("a2\n")
	p.hears("a2\n")
	r.overdue()
	a.send("a3\n")
	r.untilWaiting(1)
	p.says("re a2\n")
	r.log.wait(t, "reply for nobody dropped conn=1 bytes=6", 1)
	p.hears("a3\n")
	p.says("re a3\n")
	a.want("re a3\n")

	b.send("b2\n")
	p.hears("b2\n")
	r.overdue()
	r.overdue() // and it is not late, but never comes
	a.send("a4\n")
	p.hears("a4\n")
	p.says("begun")
	r.untilTurn(answered)
	r.overdue()
	r.overdue()
	r.wantLost(report.LostUnanswered, 4)
	r.wantLost(report.LostUnfinished, 1)
	p.says("news\n")
	a.want("news\n")
	b.want("news\n")
}

// TestBridgeReplyTimeout: the time is that of the key.
func TestBridgeReplyTimeout(t *testing.T) {
	p, r := bridgeUp(t, evloop.Config{}, "write = 'transaction'\nreply_timeout = '20ms'\nspeed = 300")
	a := r.dial()
	a.send("a1\na2\n")
	p.hears("a1\na2\n")
	r.log.wait(t, "message without a reply", 2)
}

// TestBridgeLostInTransaction: a message whose device goes is counted, those that wait
// learn that they wait in vain, and the next device has no turn under way.
func TestBridgeLostInTransaction(t *testing.T) {
	bothBackEnds(t, func(t *testing.T, bounds evloop.Config) {
		p, r := bridgeUp(t, bounds, inTurns+"notice = '# {state}'")
		a, b := r.dial(), r.dial()
		a.send("a1\n")
		p.hears("a1\n")
		b.send("b1\nb2\n")
		r.untilWaiting(1)
		p.out()
		a.want("# gone\n")
		r.until("the loss of what waits", func() bool { return r.lost[report.LostAbsent] == 2 && r.bridge().waiting.n == 0 })
		r.wantLost(report.LostUnanswered, 1)
		p.in()
		a.want("# back\n")
		b.want("# gone\n# back\n")
		b.send("b3\n")
		p.hears("b3\n")
		p.says("re b3\nnews\n")
		b.want("re b3\nnews\n")
		a.want("news\n")
	})
}

// TestBridgeReplyGap: a pause ends a reply, with what came of a line. So does one without
// delimiters.
func TestBridgeReplyGap(t *testing.T) {
	for _, tt := range []struct{ keys, ask, reply string }{
		{"reply_gap = '20ms'", "a\n", "one\ntwo\n> "},
		{"delimiter = ''\ngap = '20ms'", "\x01\x03", "\x01\x03\x02\x00"},
		{"delimiter = ''\nreply_gap = '20ms'", "\x01\x03", "\x01\x03\x02\x00"},
	} {
		p, r := bridgeUp(t, evloop.Config{}, inTurns+tt.keys)
		a, b := r.dial(), r.dial()
		for _, c := range []*testClient{a, b, a} {
			c.send(tt.ask)
			p.hears(tt.ask)
			p.says(tt.reply)
			c.want(tt.reply)
			r.untilTurn(free)
		}
		r.do(func() {
			if in, out := r.loop.Conn(b.id).BytesOut(), r.loop.Conn(a.id).BytesOut(); in*2 != out {
				t.Errorf("%s: one client got %d bytes and the other one %d", tt.keys, in, out)
			}
		})
	}
}

// TestBridgeAsksBetweenLines: a message waits for the end of a line that is under way,
// which would be taken for its reply, and not for that of a prompt.
func TestBridgeAsksBetweenLines(t *testing.T) {
	p, r := bridgeUp(t, evloop.Config{}, inTurns)
	a, b := r.dial(), r.dial()
	p.says("19.")
	r.until("half a line", func() bool { return len(r.bridge().cut.part) > 0 })
	r.do(func() { r.bridge().heard = r.loop.Now().Add(time.Hour) }) // it takes its time
	a.send("a1\n")
	r.untilWaiting(1)
	r.do(func() {
		r.loop.Cancel(r.bridge().turn.rests)
		r.bridge().turn.rests = evloop.TimerID{}
	})
	p.says("4 C\n")
	a.want("19.4 C\n")
	b.want("19.4 C\n")
	p.hears("a1\n")
	p.says("re a1\n> ")
	a.want("re a1\n")
	r.until("the prompt", func() bool { return len(r.bridge().cut.part) > 0 })
	b.send("b1\n")
	p.hears("b1\n")
	p.says("re b1\n")
	b.want("> re b1\n")
}

// TestBridgeTurnsAdjusted: a reload to another value of the key ends the turn under way,
// and nobody waits for it any more.
func TestBridgeTurnsAdjusted(t *testing.T) {
	p, r := bridgeUp(t, evloop.Config{}, inTurns)
	a, b := r.dial(), r.dial()
	a.send("a1\n")
	p.hears("a1\n")
	b.send("b1\n")
	r.untilWaiting(1)
	r.adjust(p, "write='any'")
	p.hears("b1\n")
	p.says("to all\n")
	a.want("to all\n")
	b.want("to all\n")
}

// TestBridgeTurnOfLeaving: a client that does not read its last output, and so takes long to
// end, keeps nobody from the source, in its turn or as the first that wrote.
func TestBridgeTurnOfLeaving(t *testing.T) {
	for _, write := range []string{"transaction", "first"} {
		t.Run(write, func(t *testing.T) {
			p, r := bridgeUp(t, evloop.Config{}, "write = '"+write+"'\nreply_timeout = '10m'\non_loss = 'close'\nqueue = 65536")
			stuck := r.dial()
			traffic := func() (in, out uint64) { return r.bridge().source.(*deviceSource).Traffic() }
			news := strings.Repeat("news ", 50) + "\n"
			for said, queued := uint64(0), 0; queued == 0; {
				p.says(news)
				said += uint64(len(news))
				r.until("all news", func() bool { in, _ := traffic(); return in == said }) // what came later would be a reply
				r.do(func() { queued = r.loop.Conn(stuck.id).Queued() })
			}
			if write == "transaction" {
				r.dial().send("a1\n")
				p.hears("a1\n")
				stuck.send("s1\n")
				r.untilWaiting(1)
			} else {
				stuck.send("s1\n")
				p.hears("s1\n")
			}
			p.out()
			r.untilUp(false)
			p.in()
			r.untilUp(true)
			c := r.dial()
			c.send("c1\n")
			r.until("a message for the device", func() bool { _, out := traffic(); return out > 0 })
			p.hears("c1\n")
			r.do(func() {
				if r.loop.Conn(stuck.id) == nil {
					t.Error("the client that does not read has ended")
				}
			})
		})
	}
}

// TestBridgeDrainedTurn: a message whose client had to leave before the reply is counted
// once.
func TestBridgeDrainedTurn(t *testing.T) {
	p, r := bridgeUp(t, evloop.Config{}, inTurns)
	a := r.dial()
	a.send("a1\n")
	p.hears("a1\n")
	r.do(func() { r.bridge().Drain(r.loop.Conn(a.id), nil, patience) })
	r.wantEnd(ErrUnanswered)
	r.overdue()
	r.wantLost(report.LostUnanswered, 1)
	p.out()
	r.untilUp(false)
	r.wantLost(report.LostUnanswered, 1)
}
