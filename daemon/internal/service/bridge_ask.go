// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"time"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/record"
	"penstock/daemon/internal/report"
	"penstock/evloop"
)

// Transactions: who may give the source a message, and who gets what it says.
//
//	a: m1 m2 ─┐                      ┌─► a  reply to m1
//	b: m3 ────┼─► waiting ─► source ─┤
//	c: m4 ────┘   a b c              └─► all  what nobody has asked for
//
// Each client has one message in the queue; what it says beyond that stays in its kernel.
// So clients take turns, m1 m3 m4 m2, whoever has the most to say. The queue is that of
// clients that wait for the source (bridge.waiting), of which one goes on at a time.

// A turn is what a bridge knows of the transaction under way.
type turn struct {
	state turnState
	owner uint64       // session of the client that has asked
	conn  *evloop.Conn // nil: it has left
	until evloop.Time  // end of reply_timeout
	heard evloop.Time  // when the source has last said something in it; 0: not yet
	tail  []byte       // the end of that, in which a delimiter may begin

	timer evloop.TimerID
	armed evloop.Time // when timer is due

	busy bool // grant waits: the source is being heard, which comes first, or grant is at work

	next  *evloop.Conn // has been told to go on, and is about to give its message
	rests evloop.TimerID
}

func (b *bridge) takesTurns() bool { return b.keys.Write == config.WriteTransaction }

// replyGap is the pause that ends a reply; 0: a delimiter does.
func (b *bridge) replyGap() time.Duration {
	if b.keys.Delimiter == "" && b.keys.ReplyGap == 0 {
		return b.keys.Gap
	}
	return b.keys.ReplyGap
}

// lineRest is how long a source is silent in the middle of a line before that is taken for
// a prompt, rather than for a line of which the rest is under way.
const lineRest = 50 * time.Millisecond

// mayAsk reports whether it is c's turn to give the source a message. While the source is
// in the middle of a line that nobody has asked for, it is nobody's: the end of that line
// would be taken for the end of the reply.
func (b *bridge) mayAsk(c *evloop.Conn) bool {
	if !b.takesTurns() {
		return true
	}
	if next := b.turn.next; next != nil && next.Closing() {
		b.grant()
	}
	if b.turn.state != free || b.turn.next != c && (b.turn.next != nil || b.waiting.n > 0) {
		return false
	}
	if len(b.cut.part) == 0 {
		return true
	}
	if b.loop.Now() >= b.lineRests() {
		return true
	}
	b.awaitRest()
	return false
}

// lineRests is when the beginning of a line has become a prompt.
func (b *bridge) lineRests() evloop.Time { return b.heard.Add(max(lineRest, b.keys.Gap)) }

// awaitRest has the next client go on then.
func (b *bridge) awaitRest() {
	if b.turn.rests.IsZero() {
		b.turn.rests = b.loop.Schedule(evloop.Timer{Deadline: b.lineRests(), Kind: timerRest, Handler: b})
	}
}

// grant lets the first of those that wait give its message.
func (b *bridge) grant() {
	t := &b.turn
	if t.next != nil && t.next.Closing() {
		t.next = nil // the loop calls Data for it no more, and its end may take long
	}
	if !b.takesTurns() || t.state != free || t.next != nil || t.busy || b.suspended {
		return
	}
	b.waiting.starved = nil // there are none in transactions
	if b.empty() == full || t.state != free {
		return // what was stored comes first
	}
	t.busy = true
	for b.waiting.n > 0 && b.grantFirst() {
	}
	t.busy = false
}

// grantFirst has the first of those that wait go on. It reports true if that one has nothing
// to give, or has given its last message to a source that is not there: the next one is up.
func (b *bridge) grantFirst() bool {
	t := &b.turn
	cl := b.waiting.take()
	c := cl.conn
	b.goOn(cl)
	if c.Closing() {
		return true
	}
	t.next = c
	c.Resume()
	b.lastWord(c, cl)
	return t.next == nil && t.state == free && !cl.waits
}

// given begins the turn of a client, since the source has taken its message of n bytes. c
// is nil if it has left. A slow line takes a while to send it, which is no part of
// reply_timeout.
func (b *bridge) given(owner uint64, c *evloop.Conn, n int) {
	t := &b.turn
	t.owner, t.conn, t.heard, t.tail = owner, c, 0, nil
	t.until = b.loop.Now()
	if d, ok := b.source.(*deviceSource); ok { // a client may have set the speed
		t.until = t.until.Add(time.Duration(n) * bitsOfByte * time.Second / time.Duration(d.Settings().Speed))
	}
	if c != nil {
		c.HoldIdle(true)
	}
	b.turned(given, nil)
}

// bitsOfByte is the most that a byte has on a line.
const bitsOfByte = 12

// turned takes a step, and does what it asks for. said is what the source has said.
func (b *bridge) turned(by turnTrigger, said []byte) {
	t := &b.turn
	state := t.state
	next, do := turnStep(state, by)
	t.state = next
	if do&toAll != 0 {
		b.toAll(said)
	}
	if do&toAsker != 0 && len(said) > 0 {
		b.answer(said, state == late)
	}
	if do&doMiss != 0 {
		b.env.Lose(report.LostUnanswered, 1)
		b.log.ReplyMissing(t.owner)
	}
	if do&doAwait != 0 {
		t.until = max(t.until, b.loop.Now()).Add(b.keys.ReplyTimeout)
	}
	if do&doNext != 0 {
		b.turnOver()
		return
	}
	b.watchTurn()
}

// turnOver ends the turn, and with it the connection of a client that has no more to say.
func (b *bridge) turnOver() {
	t := &b.turn
	b.loop.Cancel(t.timer)
	t.timer = evloop.TimerID{}
	c := t.conn
	t.conn, t.tail = nil, nil
	if c != nil {
		c.HoldIdle(false)
		if cl := callerOf(c); !cl.waits {
			b.lastWord(c, cl)
		}
	}
	b.grant()
}

// answer gives the client that has asked what the source has said. If that is late, and
// the client has asked something else meanwhile, nobody gets it: the client would take it
// for the reply to that.
func (b *bridge) answer(said []byte, late bool) {
	t := &b.turn
	if t.conn == nil || t.conn.Closing() || late && callerOf(t.conn).waits {
		b.log.ReplyDropped(t.owner, len(said))
		return
	}
	b.env.Sending()
	b.fan.catchUp(t.conn)
	t.conn.Write(b.escaped(said))
}

// awaits reports whether the message of c that was taken last has no reply yet.
func (b *bridge) awaits(c *evloop.Conn) bool {
	return b.turn.conn == c && b.turn.state != late
}

// said takes a piece of what the source has said, and returns what comes behind the end of
// a reply in it.
func (b *bridge) said(said []byte) (rest []byte) {
	n, by := len(said), spoke
	if b.turn.state != free && b.replyGap() == 0 {
		if end := b.turn.endIn(said, b.cut.delim); end >= 0 {
			n, by = end, ended
		}
	}
	b.turned(by, said[:n])
	return said[n:]
}

// endIn returns how much of said is up to the first delimiter, or -1 if there is none. A
// line that is passed on in pieces may be cut in the middle of it.
func (t *turn) endIn(said, delim []byte) int {
	before := len(t.tail)
	joined := append(t.tail, said[:min(len(said), len(delim)-1)]...)
	if i := bytes.Index(joined, delim); before > 0 && i >= 0 {
		return i + len(delim) - before
	}
	if i := bytes.Index(said, delim); i >= 0 {
		return i + len(delim)
	}
	joined = append(t.tail, said...)
	t.tail = bytes.Clone(joined[max(0, len(joined)-len(delim)+1):])
	return -1
}

// due is when the turn has to be looked at again.
func (b *bridge) due() evloop.Time {
	if gap := b.replyGap(); gap > 0 && b.turn.heard != 0 {
		return min(b.turn.until, b.turn.heard.Add(gap))
	}
	return b.turn.until
}

// watchTurn arms the timer. One that is due too early is left as it is.
func (b *bridge) watchTurn() {
	t := &b.turn
	if t.state == free {
		return
	}
	due := b.due()
	if !t.timer.IsZero() {
		if t.armed <= due {
			return
		}
		b.loop.Cancel(t.timer)
	}
	t.armed = due
	t.timer = b.loop.Schedule(evloop.Timer{Deadline: due, Kind: timerTurn, Handler: b})
}

// lookAtTurn is called when the timer is due. What has come up to the pause is a reply,
// also without a delimiter.
func (b *bridge) lookAtTurn() {
	t := &b.turn
	t.timer = evloop.TimerID{}
	now, gap := b.loop.Now(), b.replyGap()
	switch {
	case now < b.due():
		b.watchTurn()
	case gap > 0 && t.heard != 0 && now >= t.heard.Add(gap):
		b.cut.paused()
		b.turned(quiet, nil)
	default:
		if t.state == late {
			b.cut.lost(b.halfLine)
		}
		b.turned(overdue, nil)
	}
}

// heardSource is called when what the source has said in a read was passed on, as far as it
// can be. If it is the beginning of a reply, the clients have got nothing yet.
func (b *bridge) heardSource() {
	switch {
	case !b.takesTurns():
	case b.turn.state == asked:
		b.turned(spoke, nil)
	case b.turn.state != free:
		b.watchTurn()
	case len(b.cut.part) == 0:
		b.grant()
	case b.waiting.n+len(b.store.list) > 0:
		b.awaitRest()
	}
}

// leaveTurn takes c out of the transactions. Its own goes on: the source does not know
// that nobody waits for the reply.
func (b *bridge) leaveTurn(c *evloop.Conn) {
	if b.turn.conn == c {
		b.turn.conn = nil
	}
	if b.turn.next == c {
		b.turn.next = nil
		b.grant()
	}
}

// save writes the transaction for the next process.
func (t *turn) save(w *record.Writer) {
	w.Number(uint64(t.state))
	w.Number(t.owner)
	w.Number(uint64(t.until))
	w.Number(uint64(t.heard))
	w.Text(t.tail)
}

// readTurn reads what save has written; delim is the length of the delimiter. It refuses
// what no process can have left: a reply that has begun in the state asked, for which the
// timer would be due again and again, and more than the beginning of a delimiter.
func readTurn(in *record.Reader, delim int) (t turn, err error) {
	state := in.Number()
	t.owner, t.until, t.heard = in.Number(), evloop.Time(in.Number()), evloop.Time(in.Number())
	t.tail = bytes.Clone(in.Text())
	t.state = turnState(min(state, uint64(turnStates)))
	if t.state == turnStates || t.state == asked && t.heard != 0 || len(t.tail) > max(0, delim-1) {
		return turn{}, record.ErrDamaged
	}
	return t, nil
}
