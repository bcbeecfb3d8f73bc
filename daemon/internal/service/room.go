// SPDX-License-Identifier: Apache-2.0

package service

import (
	"strconv"
	"time"
	"unicode/utf8"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/text"
	"penstock/evloop"
)

// A room passes each line to everybody in it.
//
// A line becomes one immutable message, and every member's queue gets a
// reference to it. Writing to a thousand sockets in turn, as the tutorials'
// servers do, costs the same system calls, but there the first member that does
// not read stops the others. Here sending never waits: what a full queue leads
// to is that member's overflow policy, and nobody else notices.
//
// This file has the way of a line up to the fanout, in the order of the picture, and
// then how members come and go. What most lines do not meet is apart, behind a test
// where the way passes it: speakers that wait (room_pace.go), comings and goings that
// are to be told (room_news.go), commands (room_command.go), other boards (room_boards.go).
//
//	free? ─► frame ─► render ─► Message ─┬─► history
//	                                     └─► fanout ─┬─► queue of a ─► socket
//	                                                 └─► queue of b ─► socket
//
// Presets serve the tutorials' own clients, with the texts of package config:
//
//	twisted      lines end in CRLF and nothing else; a lone LF is part of the
//	             message; a line without end is cut off in silence
//	select-chat  "NAME: bob" comes first and is answered with "CLIENT: <host>";
//	             bob is then bob@<host> to the others
type room struct {
	conf  *config.Room
	loop  *evloop.Loop
	frame framing
	rest  remainder
	fan   *fanout // to the members
	pace  roomPace
	news  news
	nicks map[string]*evloop.Conn // names that were taken by /nick, folded

	boards []*board // others on which somebody is in this room, by name

	welcome, message, join, leave template

	history recent
	feed    Feed
	placed  span // of the line in what render has returned last

	ending bool // everybody is being sent away
}

// A member is what a room remembers of a connection: Session.Data.
type member struct {
	name string
	in   bool // has joined: with select-chat only after its name
	nick bool // name is in room.nicks

	appetite appetite
}

func memberOf(c *evloop.Conn) *member { return SessionOf(c).Data.(*member) }

func newRoom(conf *config.Service, env Env) *room {
	r := &room{
		loop:  env.Loop,
		rest:  newRemainder(conf, env),
		fan:   newFanout(env),
		nicks: make(map[string]*evloop.Conn),
	}
	r.feed = newFeed(&r.history)
	r.Adjust(conf)
	r.fan.each, r.fan.passed = r.notice, r.counted
	return r
}

// Adjust takes other texts and bounds. Members stay, with their names and the history.
func (r *room) Adjust(conf *config.Service) {
	keys := conf.Of.(*config.Room)
	r.conf = keys
	r.frame = newFraming(keys.Delimiter(), conf.MaxLine)
	r.rest.adjust(conf)
	r.fan.adjust(conf.Queue)
	r.welcome, r.message = parseTemplate(keys.Welcome), parseTemplate(keys.Message)
	r.join, r.leave = parseTemplate(keys.Join), parseTemplate(keys.Leave)
	r.history.adjust(keys.History, conf.HistoryBound())
}

// Adjusted lets a client in that has not said its name yet and need not any more.
func (r *room) Adjusted(c *evloop.Conn) {
	if m := memberOf(c); !m.in && r.conf.Preset != config.PresetSelectChat && !c.Closing() {
		r.enter(c)
	}
}

// Data passes on the lines in p, as long as the others get on with them.
func (r *room) Data(c *evloop.Conn, p []byte) (n int) {
	for served := 0; !c.Closing() && n < len(p) && another(c, served); served++ {
		if !r.free(c) {
			r.wait(c, n > 0)
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
	if c.Closing() {
		return len(p)
	}
	return n
}

// line does what a line of c asks for.
func (r *room) line(c *evloop.Conn, line []byte) {
	if text.BeginsTelnet(line) {
		line = text.TrimTelnet(line)
	}
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
		b := r.render(r.message, SessionOf(c), line)
		r.talk(c, b, r.saidBy(c, r.placed))
	}
}

// A span is a part of a text, which may be empty. The zero value is no part.
type span struct {
	placed   bool
	at, size int
}

// saidBy is what followers and later ones get to know of a line of c; nil: there are
// none.
func (r *room) saidBy(c *evloop.Conn, where span) *About {
	if r.history.most == 0 && !r.feed.followed() {
		return nil
	}
	peer := SessionOf(c).Peer()
	return &About{Origin: OriginClient, Peer: &peer, Name: memberOf(c).name, where: where}
}

// render returns the text about a member, with line where the template wants it, and
// a newline.
func (r *room) render(t template, of *Session, line []byte) []byte {
	b := make([]byte, 0, len(line)+96) // as much as most templates add
	r.placed = span{}
	for _, p := range t {
		switch p.slot {
		case slotText:
			b = append(b, p.text...)
		case slotName:
			b = append(b, of.Data.(*member).name...)
		case slotPeer:
			b = append(b, r.peer(of)...)
		case slotLine:
			at := len(b)
			b = r.clean(b, line)
			r.placed = span{true, at, len(b) - at}
		case slotCount:
			b = strconv.AppendInt(b, int64(len(r.fan.members)+r.people()), 10)
		}
	}
	return append(b, '\n')
}

// peer is the address as the preset's clients know it: the select-chat server
// says it without the port.
func (r *room) peer(of *Session) string {
	if r.conf.Preset == config.PresetSelectChat {
		return of.Peer().Host()
	}
	return of.Peer().String()
}

// clean appends what a member said, without what the others' terminals would
// take for a command. Most lines are plain ASCII. An LF can only be in a line whose
// end is CRLF, and only the preset that has such lines keeps it.
func (r *room) clean(b, line []byte) []byte {
	for _, c := range line {
		if c < utf8.RuneSelf && !text.IsControl(rune(c)) {
			continue
		}
		if r.conf.Preset == config.PresetTwisted {
			return text.AppendLines(b, line)
		}
		return text.AppendClean(b, line)
	}
	return append(b, line...)
}

// talk sends a line, already rendered, to everybody and keeps it.
func (r *room) talk(c *evloop.Conn, line []byte, about *About) {
	m := evloop.NewMessage(line)
	but := c
	if r.conf.EchoToSender {
		but = nil
	}
	if r.news.untold() {
		r.tell()
	}
	if r.conf.History > 0 {
		r.history.keep(m, about)
	}
	r.fan.send(m, but)
	r.feed.one(line, about)
}

// Feed is for Feeder.
func (r *room) Feed() *Feed { return &r.feed }

// tooLong ends the connection of a member that sends no line end. Twisted says
// nothing in that case, and its clients would take the text for a message.
func (r *room) tooLong(c *evloop.Conn) {
	if r.conf.Preset == config.PresetTwisted {
		c.CloseAfterFlush(goodbyeTimeout, ErrLineTooLong)
		return
	}
	tooLong(c)
}

// Farewell tells a member why it is cut off.
func (*room) Farewell() []byte { return []byte("ERR you read too slowly, goodbye\n") }

// Open lets a client in, unless it has to say its name first.
func (r *room) Open(c *evloop.Conn) {
	SessionOf(c).Data = &member{name: SessionOf(c).Peer().String()}
	if r.conf.Preset != config.PresetSelectChat {
		r.enter(c)
	}
}

// enter makes c a member, shows it the history and announces it.
func (r *room) enter(c *evloop.Conn) {
	r.seat(c)
	r.say(c, r.welcome)
	r.history.show(c)
	r.announce(SessionOf(c), c, r.join, &r.news.came)
	r.feed.event(OriginJoin, SessionOf(c), memberOf(c).name, "")
}

// seat makes c a member, and tells nobody.
func (r *room) seat(c *evloop.Conn) {
	r.fan.add(c)
	memberOf(c).in = true
	memberOf(c).appetite = appetite{low: r.loop.Now(), seen: r.loop.Now()}
}

// say sends a rendered template to c alone.
func (r *room) say(c *evloop.Conn, t template) {
	if len(t) > 0 {
		c.Write(r.render(t, SessionOf(c), nil))
	}
}

// EOF ends the membership of a client that has no more to say, unless it only
// listens.
func (r *room) EOF(c *evloop.Conn) {
	switch line, found := r.rest.line(c, r.frame); found {
	case cutLine:
		r.line(c, line)
	case cutLong:
		r.tooLong(c)
		return
	}
	if !memberOf(c).in || !listens(c) {
		r.finish(c)
	}
}

// finish ends a membership in order: what the others said before goes out too.
func (r *room) finish(c *evloop.Conn) {
	if memberOf(c).in {
		r.fan.catchUp(c)
	}
	finish(c)
}

// Drained has nothing to go on with: see roomPace.
func (*room) Drained(*evloop.Conn) {}

// Closed tells the others.
func (r *room) Closed(c *evloop.Conn, _ error) {
	m := memberOf(c)
	if !m.in {
		return
	}
	r.fan.remove(c)
	r.release(c, m)
	r.announce(SessionOf(c), nil, r.leave, &r.news.left)
	r.feed.event(OriginLeave, SessionOf(c), m.name, "")
}

// Drain sends a member away because the room itself closes. What it has still to say
// would come too late.
func (r *room) Drain(c *evloop.Conn, left []byte, timeout time.Duration) {
	r.ending = true
	if memberOf(c).in {
		r.fan.catchUp(c)
	}
	dismiss(c, left, r.frame.delim, dismissal{r.rest.log, r.rest.lose}, timeout)
}

// Kinds of a room's timers.
const (
	timerPace = iota
	timerNews
	timerBoards
)

// Expired counts for the speakers that wait, tells the news, or gives up what was said of
// other boards before a restart.
func (r *room) Expired(_ *evloop.Loop, t evloop.Timer) {
	switch t.Kind {
	case timerPace:
		r.looked()
	case timerNews:
		r.news.timer = evloop.TimerID{}
		r.tell()
	case timerBoards:
		r.Alone(nil)
	}
}
