// SPDX-License-Identifier: Apache-2.0

package service

import (
	"golang.org/x/sys/unix"

	"penstock/daemon/internal/telnet"
	"penstock/daemon/internal/tty"
	"penstock/evloop"
)

// With telnet = "rfc2217" what a client sends is a stream of TELNET. Its escapes never
// reach the source; what they ask about the line goes to a port, in bridge_port.go.
//
//	             ┌─ data ─────► whole messages ─► source
//	Data ─► item ┤
//	             └─ escape ───► act ──► answer
//
// An escape in the middle of a message is acted upon at once, and stays in the loop's
// buffer with the message that is not whole. So what a client has said is in one place,
// and a restart carries it as it carries all input. acted says how much of the buffer
// holds no news.
//
// A request that has to ask the driver holds its client, so that the answers are in order,
// and what the client sends after it meets a line that is set.

// A terminal is what a bridge remembers of a client that speaks TELNET.
type terminal struct {
	options telnet.Options
	acted   int  // bytes of the input whose escapes were acted upon
	asks    bool // a request is under way, and the client is paused
	told    bool // it knows the lines of the other end
	modem   byte // which changes of the other end's lines it wants to know,
	errors  byte // and which errors of the line
}

// inOrder has the kernel leave a byte that a client marks as urgent where it stands
// (SO_OOBINLINE, tcp(7)). It takes it out otherwise, which is the half of a Synch: its other
// half would be data for the device, or would take the byte behind it for its own.
func inOrder(fd int) { _ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_OOBINLINE, 1) }

// A cursor is where stream stands in what a client has sent.
type cursor struct {
	p     []byte // what is not consumed
	used  int    // bytes before that
	at    int    // of p: what was looked at
	plain []byte // the data in it
	fresh bool   // some of it was not offered yet
}

func (k *cursor) add(data []byte) {
	if k.fresh = true; k.plain == nil {
		k.plain = data // as most often, all of it
		return
	}
	k.plain = append(k.plain, data...)
}

// stream takes what a client has sent. Each byte is looked at once, but for those of a
// message that is not whole.
func (m *port) stream(c *evloop.Conn, p []byte) int {
	t, k := callerOf(c).telnet, cursor{p: p}
	m.read(c, t, &k)
	if c.Closing() {
		return len(p)
	}
	return k.used
}

func (m *port) read(c *evloop.Conn, t *terminal, k *cursor) {
	for served := 0; ; {
		item, size := telnet.Next(k.p[k.at:])
		switch {
		case item.Verb == telnet.None:
			if m.offer(c, t, k) && len(k.p) > 2*m.b.conf.MaxLine+escapesMost {
				tooLong(c)
			}
			return
		case item.Verb == telnet.Data:
			k.add(item.Bytes)
		case k.at+size > t.acted:
			if k.fresh && !m.offer(c, t, k) || !another(c, served) {
				return
			}
			served++
			m.act(c, t, item, k.at, k.at+size)
			if t.asks || c.Closing() {
				return
			}
		}
		k.at += size
	}
}

// escapesMost is how many bytes of escapes may be in a message.
const escapesMost = 1 << 10

// offer has the messages taken that are whole, and reports whether there is no more to be
// taken.
func (m *port) offer(c *evloop.Conn, t *terminal, k *cursor) bool {
	took := m.b.messages(c, k.plain)
	n := raw(k.p, took, t.acted)
	k.p, k.used, k.at, t.acted = k.p[n:], k.used+n, k.at-n, max(0, t.acted-n)
	k.plain, k.fresh = k.plain[took:], false
	return !c.Closing() && !m.b.unserved(c, k.plain)
}

// raw returns how many bytes of p the first n bytes of data took, and the escapes after
// them that were acted upon.
func raw(p []byte, n, acted int) (at int) {
	for {
		item, size := telnet.Next(p[at:])
		switch {
		case item.Verb == telnet.Data && len(item.Bytes) > n:
			return at + n // so they are more than one, and not a doubled escape
		case item.Verb == telnet.Data:
			n -= len(item.Bytes)
		case item.Verb == telnet.None || at+size > acted:
			return at
		}
		at += size
	}
}

// plainOf returns the data in p.
func plainOf(p []byte) []byte {
	var k cursor
	for {
		item, size := telnet.Next(p)
		switch item.Verb {
		case telnet.None:
			return k.plain
		case telnet.Data:
			k.add(item.Bytes)
		}
		p = p[size:]
	}
}

// unserved reports whether rest, which messages has left, waits for anything but its end.
func (b *bridge) unserved(c *evloop.Conn, rest []byte) bool {
	if callerOf(c).waits {
		return true
	}
	if len(rest) == 0 {
		return false
	}
	_, found := b.next(rest)
	return found != cutNone
}

// act does what an escape says, which is so far in the input.
func (m *port) act(c *evloop.Conn, t *terminal, i telnet.Item, before, after int) {
	t.acted = after
	switch i.Verb {
	case telnet.Agree:
		if answer := t.options.Answer(i); answer != nil {
			c.Write(answer)
		}
		m.look()
	case telnet.Params:
		if r, ok := telnet.RequestOf(i); ok {
			m.asked(c, r, before)
		}
	case telnet.Command:
		if i.Which == telnet.Break && m.hold(c) {
			do := func(fd int) { _ = tty.SendBreak(fd) }
			m.ask(c, before, true, func() func(int) { return do }, func() []byte { return nil })
		}
	case telnet.TooLong:
		tooLong(c)
	}
}
