// SPDX-License-Identifier: Apache-2.0

package service

import (
	"time"

	"penstock/daemon/internal/config"
	"penstock/evloop"
)

// A room passes each line to everybody in it.
//
// A line becomes one immutable message, and every member's queue gets a
// reference to it. Writing to a thousand sockets in turn, as the tutorials'
// servers do, costs the same system calls, but there the first member who does
// not read stops the others. Here sending never waits: what a full queue leads
// to is that member's overflow policy, and nobody else notices.
//
//	line ─► render ─► Message ─┬─► queue of a ─► socket
//	                           ├─► queue of b ─► socket
//	                           └─► history
//
// Presets serve the tutorials' own clients, with the texts of package config:
//
//	twisted      lines end in CRLF and nothing else; a lone LF is part of the
//	             message; a line without end is cut off in silence
//	select-chat  "NAME: bob" comes first and is answered with "CLIENT: <host>";
//	             bob is then bob@<host> to the others
type room struct {
	conf    *config.Room
	frame   framing
	members roster
	nicks   map[string]*evloop.Conn // names that were taken by /nick, folded

	welcome, message, join, leave template

	history      []*evloop.Message // the last lines, oldest first
	historyBytes int
	historyBound int // bytes; a newcomer has to be able to take all of it

	ending bool // everybody is being sent away
}

// A member is what a room remembers of a connection: Session.Data.
type member struct {
	name string
	in   bool // has joined: with select-chat only after its name
	nick bool // name is in room.nicks
}

func memberOf(c *evloop.Conn) *member { return SessionOf(c).Data.(*member) }

func newRoom(conf *config.Service) *room {
	keys := conf.Of.(*config.Room)
	delim := "\n"
	if keys.Preset == config.PresetTwisted {
		delim = "\r\n"
	}
	return &room{
		conf:         keys,
		frame:        newFraming(delim, conf.MaxLine),
		nicks:        make(map[string]*evloop.Conn),
		welcome:      parseTemplate(keys.Welcome),
		message:      parseTemplate(keys.Message),
		join:         parseTemplate(keys.Join),
		leave:        parseTemplate(keys.Leave),
		historyBound: conf.HistoryBound(),
	}
}

// Farewell tells a member why it is cut off.
func (*room) Farewell() []byte { return []byte("ERR you read too slowly, goodbye\n") }

// Open lets a client in, unless it has to say its name first.
func (r *room) Open(c *evloop.Conn) {
	SessionOf(c).Data = &member{name: SessionOf(c).Peer.String()}
	if r.conf.Preset != config.PresetSelectChat {
		r.enter(c)
	}
}

// enter makes c a member, shows it the history and announces it.
func (r *room) enter(c *evloop.Conn) {
	r.members.add(c)
	memberOf(c).in = true
	r.say(c, r.welcome)
	for _, m := range r.history {
		c.Send(m)
	}
	r.announce(c, r.join)
}

// say sends a rendered template to c alone.
func (r *room) say(c *evloop.Conn, t template) {
	if len(t) > 0 {
		c.Write(r.render(t, c, nil))
	}
}

// announce sends a rendered template to everybody but c, unless all are leaving:
// a thousand members would get half a million goodbyes.
func (r *room) announce(c *evloop.Conn, t template) {
	if len(t) > 0 && !r.ending {
		r.send(evloop.NewMessage(r.render(t, c, nil)), c)
	}
}

// send passes m to every member but one.
func (r *room) send(m *evloop.Message, but *evloop.Conn) {
	for _, c := range r.members {
		if c != but {
			c.Send(m)
		}
	}
}

// talk sends a line, already rendered, to everybody and keeps it.
func (r *room) talk(c *evloop.Conn, line []byte) {
	m := evloop.NewMessage(line)
	but := c
	if r.conf.EchoToSender {
		but = nil
	}
	r.send(m, but)
	r.keep(m)
}

// keep adds m to the history and drops what is over its bounds.
func (r *room) keep(m *evloop.Message) {
	if r.conf.History == 0 {
		return
	}
	r.history = append(r.history, m)
	r.historyBytes += m.Len()
	old := 0
	for len(r.history)-old > r.conf.History || r.historyBytes > r.historyBound && len(r.history) > old {
		r.historyBytes -= r.history[old].Len()
		r.history[old] = nil
		old++
	}
	r.history = r.history[old:]
}

// deliveries bounds what the lines of one member cost the others in a turn of
// the loop, in messages put into queues: a read of 64 KiB may hold as many
// lines, and each of them goes to everybody. It is some milliseconds on a
// small board.
const deliveries = 16 << 10

// Data passes on the lines in p. It stops when one of them was a farewell, and
// goes on in the next turn when there are more than may be delivered in one.
func (r *room) Data(c *evloop.Conn, p []byte) (n int) {
	for left := deliveries; !c.Closing(); left -= max(1, len(r.members)) {
		if left <= 0 {
			c.Yield()
			return n
		}
		line, took, found := r.frame.next(p[n:])
		switch found {
		case cutNone:
			return n
		case cutLong:
			r.tooLong(c)
			return len(p)
		}
		n += took
		r.line(c, line)
	}
	return len(p)
}

// tooLong ends the connection of a member that sends no line end. Twisted says
// nothing in that case, and its clients would take the text for a message.
func (r *room) tooLong(c *evloop.Conn) {
	if r.conf.Preset == config.PresetTwisted {
		c.CloseAfterFlush(goodbyeTimeout, ErrLineTooLong)
		return
	}
	tooLong(c)
}

func (r *room) line(c *evloop.Conn, line []byte) {
	switch {
	case !memberOf(c).in:
		r.login(c, line)
	case r.conf.Preset == config.PresetNone && len(line) > 0 && line[0] == '/':
		r.command(c, line)
	default:
		r.speak(c, line)
	}
}

// speak passes on what c said.
func (r *room) speak(c *evloop.Conn, line []byte) {
	if len(r.message) > 0 {
		r.talk(c, r.render(r.message, c, line))
	}
}

// EOF ends the membership of a client that has no more to say.
func (*room) EOF(c *evloop.Conn) { finish(c) }

// Drained has nothing to go on with: a room does not wait for anybody.
func (*room) Drained(*evloop.Conn) {}

// Closed tells the others.
func (r *room) Closed(c *evloop.Conn, _ error) {
	m := memberOf(c)
	if !m.in {
		return
	}
	r.members.remove(c)
	r.release(c, m)
	r.announce(c, r.leave)
}

// Drain sends a member away because the room itself closes.
func (r *room) Drain(c *evloop.Conn, timeout time.Duration) {
	r.ending = true
	c.CloseAfterFlush(timeout, ErrShutdown)
}
