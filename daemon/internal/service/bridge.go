// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"strings"
	"time"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/device"
	"penstock/daemon/internal/report"
	"penstock/daemon/internal/telnet"
	"penstock/daemon/internal/view"
	"penstock/evloop"
)

// A bridge passes on what one source sends, a device or a program, to all its clients, and
// what they send to the source.
//
//	source ─► cut ─► Message ─┬─► history
//	                          └─► fanout ─┬─► queue of a ─► socket
//	                                      └─► queue of b ─► socket
//	clients ─► whole messages ─► source
//
// The source is read whatever its clients do: a port without flow control loses what
// nobody reads. So a full queue is that client's own affair, by its overflow policy. What
// one read of the source has brought goes out as one message, as far as it is whole lines:
// a message for each line would cost twenty times as much in a burst.
//
// The source is in bridge_source.go, the way of its bytes in bridge_cut.go, that of the
// clients' messages in bridge_write.go, that of replies to them in bridge_ask.go, and what
// they ask about the line in bridge_telnet.go and bridge_port.go.
type bridge struct {
	conf *config.Service
	keys *config.Bridge
	env  Env
	loop *evloop.Loop
	log  *report.Service
	fan  *fanout // to all clients

	source  source
	former  int    // sources that a reload has replaced and that have yet to end
	over    func() // called when they have, because the service ends or is suspended; nil: it goes on
	started bool   // Start was called
	up      bool   // the source is there
	known   bool   // whether it is
	missed  bool   // it has gone, or has not come, since clients were last told that it is there

	suspended bool           // a restart is near: the source takes nothing any more
	handing   int            // the device for the next process; see Save
	carried   device.Carried // of the former process
	goesOn    bool           // its device was taken over: half a line is still to be ended

	cut     cutter
	history recent
	feed    Feed

	frame   framing // of clients, unless the delimiter is empty
	rest    remainder
	holder  *evloop.Conn // the only one that writes, with write = "first"; nil: nobody yet
	turn    turn
	heard   evloop.Time // when the source has last said something
	store   store
	waiting line // clients that wait until the source takes more

	earliest evloop.Time // no client is cut for its wait before: after a restart the source has to come

	tap  func(fromSource bool, p []byte) // nil: nobody looks
	port *port                           // the line as clients set it; nil: they speak no TELNET
}

// A caller is what a bridge remembers of a client: Session.Data.
type caller struct {
	conn           *evloop.Conn
	before, behind *caller // in bridge.waiting

	waits bool           // in bridge.waiting
	fed   bool           // something of it was taken since it last went on
	until evloop.Time    // end of the wait; 0: something was taken since it began
	limit evloop.TimerID // bounds the wait
	rest  []byte         // its last message, which lacks a delimiter and waits too
	eof   bool           // it has no more to say

	telnet *terminal // nil: it speaks no TELNET
}

func callerOf(c *evloop.Conn) *caller { return SessionOf(c).Data.(*caller) }

func newBridge(conf *config.Service, env Env) *bridge {
	b := &bridge{env: env, loop: env.Loop, log: env.Log, fan: newFanout(env), rest: newRemainder(conf, env)}
	b.cut.out, b.cut.long = b.pass, env.Log.LongPassed
	b.feed = newFeed(&b.history)
	b.feed.delim, b.feed.plain = func() []byte { return b.cut.delim }, b.unescaped
	b.fan.tells, b.fan.passed = true, func() { b.source.Hold(false) }
	if conf.Of.(*config.Bridge).Telnet == config.TelnetPort {
		b.port = &port{b: b}
	}
	b.Adjust(conf)
	return b
}

// Adjust takes other keys. If they are about the source, it is closed and opened anew, or
// ended and started anew.
func (b *bridge) Adjust(conf *config.Service) {
	keys := conf.Of.(*config.Bridge)
	b.conf, b.keys = conf, keys
	b.fan.adjust(conf.Queue)
	b.rest.adjust(conf)
	if keys.Delimiter != "" {
		b.frame = newFraming(keys.Delimiter, conf.MaxLine)
	}
	b.cut.adjust(conf)
	b.history.delim = []byte(keys.Delimiter)
	b.history.adjust(keys.History, conf.HistoryBound())
	b.unwaited()
	if keys.Write != config.WriteFirst {
		b.holder = nil
	}
	if !b.takesTurns() {
		b.turned(lost, nil)
		b.turn.next = nil
		b.unowed()
		b.Proceed()
	}
	if b.source != nil && b.source.Renew(conf) {
		return
	}
	before := b.source
	b.source = newSource(b, conf)
	if before == nil || !b.started {
		return
	}
	b.former++
	b.Down()
	before.Stop(b.replaced)
}

// replaced goes on when a former source has ended: the next one may need what it had.
func (b *bridge) replaced() {
	b.former--
	switch {
	case b.former > 0:
	case b.over != nil:
		b.over()
	default:
		b.source.Start()
	}
}

// Adjusted has nothing to do: a client is the same with other keys.
func (*bridge) Adjusted(*evloop.Conn) {}

// Start has the source opened or started, and does not wait for it.
func (b *bridge) Start() {
	b.started = true
	if !b.goesOn {
		b.cut.lost(b.halfLine)
	}
	if !b.goesOn || !b.takesTurns() {
		b.turned(lost, nil)
	}
	b.watchTurn()
	b.unwaited()
	if !b.takesTurns() { // the former process may have
		b.unowed()
	}
	b.source.Start()
	b.fed()
}

// Stop closes or ends the source.
func (b *bridge) Stop(ended func()) {
	b.source.Stop(func() {
		b.loseStore()
		if b.former > 0 {
			b.over = ended
			return
		}
		ended()
	})
}

// Up is called when the source is there.
func (b *bridge) Up() {
	b.up, b.known = true, true
	b.env.Changed()
	if b.missed {
		b.notice("back")
	}
	b.missed = false
	b.Proceed()
}

// Down is called when the source is gone or has not come. The beginning of a message, of
// which the rest will not come, is no message.
func (b *bridge) Down() {
	if b.up || !b.known { // and not after each attempt
		b.known = true
		b.env.Changed()
	}
	b.missed = true // also by clients that have come before it
	if b.up {
		b.up = false
		b.lostSource()
		b.notice("gone")
		if b.keys.OnLoss == config.LossClose && !b.suspended {
			b.dismissAll()
		}
	}
	b.Proceed() // those that wait learn that they wait in vain
}

// lostSource is called when the source will not go on where it is.
func (b *bridge) lostSource() {
	b.cut.lost(b.halfLine)
	b.turned(lost, nil)
}

// halfLine counts the beginning of a line that will never be whole.
func (b *bridge) halfLine(n int) {
	b.env.Lose(report.LostUnfinished, 1)
	b.log.HalfLineDropped(n)
}

// notice tells the clients about the source.
func (b *bridge) notice(state string) {
	if text := b.line(b.keys.Notice, state); text != nil {
		b.fan.send(evloop.NewMessage(text), nil)
	}
}

// line returns a line of our own, or nil if its template is empty.
func (b *bridge) line(template, state string) []byte {
	if template == "" {
		return nil
	}
	end := b.keys.Delimiter
	if end == "" {
		end = "\n"
	}
	return b.escaped([]byte(strings.ReplaceAll(template, config.PlaceState, state) + end))
}

// escaped returns p as clients get it.
func (b *bridge) escaped(p []byte) []byte {
	if b.port == nil {
		return p
	}
	return telnet.Escaped(p)
}

// Feed is for Feeder.
func (b *bridge) Feed() *Feed { return &b.feed }

// number tells those that follow what was passed on as m.
func (b *bridge) number(piece []byte, m *evloop.Message) {
	switch {
	case b.port == nil:
		piece = m.Bytes()
	case b.feed.followed():
		piece = bytes.Clone(piece)
	}
	b.feed.several(piece, b.cut.delim, &ofSource)
}

// unescaped undoes escaped.
func (b *bridge) unescaped(p []byte) []byte {
	if b.port == nil {
		return p
	}
	return plainOf(p)
}

// dismissAll ends all connections, since the source is gone.
func (b *bridge) dismissAll() {
	b.fan.settle()
	for _, c := range b.fan.members {
		c.CloseAfterFlush(untilStalled, ErrSourceGone)
	}
}

// ErrSourceGone means that the device or program of a bridge has gone, and that its clients
// are to know it by the end of their connections (the key on_loss).
var ErrSourceGone error = report.NewCause("the source is gone", report.EndSourceGone)

// pass sends a piece of the source's output to those for whom it is.
func (b *bridge) pass(piece []byte) {
	for len(piece) > 0 {
		piece = b.said(piece)
	}
}

// toAll sends a piece of the source's output to everybody, and keeps it for newcomers.
func (b *bridge) toAll(piece []byte) {
	m := evloop.NewMessage(bytes.Clone(b.escaped(piece)))
	b.history.keep(m, nil)
	b.fan.send(m, nil)
	b.number(piece, m)
	if b.fan.behind() {
		b.source.Hold(true) // the loop is, not a client: it goes on within a few turns
	}
}

// Open lets a client in and shows it the banner and the history.
func (b *bridge) Open(c *evloop.Conn) {
	cl := new(caller)
	if b.port != nil {
		cl.telnet = new(terminal)
		cl.telnet.modem = 255 // all of them, as RFC 2217 has it
		c.Write(cl.telnet.options.Offer())
	}
	b.seat(c, cl)
	state := "absent"
	if b.up {
		state = "up"
	}
	if text := b.line(b.keys.Banner, state); text != nil {
		c.Write(text)
	}
	b.history.show(c)
}

func (b *bridge) seat(c *evloop.Conn, cl *caller) {
	cl.conn = c
	SessionOf(c).Data = cl
	if b.port != nil {
		inOrder(c.FD())
	}
	b.fan.add(c)
}

// Drained has nothing to go on with.
func (*bridge) Drained(*evloop.Conn) {}

// Closed forgets a client.
func (b *bridge) Closed(c *evloop.Conn, _ error) {
	b.fan.remove(c)
	b.forget(c)
	if b.port != nil {
		b.port.leave(c)
	}
}

// Drain ends a connection because the service ends. What the client has still to say
// comes too late.
func (b *bridge) Drain(c *evloop.Conn, left []byte, timeout time.Duration) {
	b.fan.catchUp(c)
	cl := callerOf(c)
	if b.port != nil {
		left = plainOf(left)
	}
	late := 0
	switch {
	case b.keys.Write == config.WriteNone:
	case b.keys.Delimiter != "":
		late = bytes.Count(left, b.frame.delim)
	case len(left) > 0:
		late = 1
	}
	if cl.rest != nil {
		late++
	}
	awaits := b.awaits(c)
	b.forget(c)
	var reason error
	if b.keys.Write != config.WriteNone && !c.Closing() {
		reason = unheard(b.env.Log, c, 0)
	}
	if (late > 0 || awaits) && !c.Closing() {
		b.env.Lose(report.LostUnanswered, late)
		reason = ErrUnanswered
		if awaits {
			b.turned(overdue, nil) // counts it, and the end of the turn does not count it again
		}
	}
	c.CloseAfterFlush(timeout, reason)
}

// View adds the source to a snapshot.
func (b *bridge) View(v *view.Service) {
	v.Source = b.source.View()
	v.Source.Long, v.Source.Queued = b.cut.longs, b.store.bytes
}
