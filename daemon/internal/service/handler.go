// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/process"
	"penstock/daemon/internal/report"
	"penstock/daemon/internal/view"
	"penstock/evloop"
)

// A handler passes each message to one program that all its clients share, and
// what the program says back to them. The wire is in handler_wire.go, the
// program's life in package process.
//
//	clients ──► Data ──► stdin ──► program ──► stdout ──► Write, Send ──► clients
//	   ▲                   │ full, or no program
//	   └── Pause ◄─────────┘
//
// A program for each client, as inetd has it, needs a process for each idle
// client and cannot let two of them know of each other. The price of sharing is
// that one slow message delays all: so nothing is queued for the program beyond
// one pipe and one queue. Then the clients are paused, and their own kernels
// keep what they have to say.
//
// A message that the program got is never sent again. When the program dies, the
// clients that wait for a reply get the text of the key "error", and decide themselves
// what to do. Messages without a reply, because the program has died or the time of a
// stop is over, are counted and logged.
type handler struct {
	conf    *config.Service
	keys    *config.Handler
	log     *report.Service
	loop    *evloop.Loop
	frame   framing // of delimiter, unless that is empty
	last    remainder
	lose    func(reason report.Reason, messages int)
	sending func() // Env.Sending
	changed func() // Env.Changed
	wire    *encoder
	program *process.Program

	clients map[uint64]*evloop.Conn // by Session.ID
	fan     *fanout                 // to all of them
	untold  []*Session              // closed; the program was told of open, not yet of close
	missed  int                     // messages that the program has got, of clients that were cut before the reply
	late    int                     // replies to clients that have left

	unstarted bool        // the program could not be started when that was last tried
	suspended bool        // the program ends, and the next process starts another
	earliest  evloop.Time // no client is cut for its wait before: after a restart a program has to start
}

// A client is what a handler remembers of a connection: Session.Data.
type client struct {
	pending  int            // messages without a reply
	replyEnd uint64         // where the last reply ends in the output, counted from the connection's first byte
	told     bool           // the program knows of the connection
	blocked  bool           // paused until the program takes more
	limit    evloop.TimerID // bounds the time for which the client is blocked
	until    evloop.Time    // when that time ends; 0: nothing has waited since a message was taken
	eof      bool           // the client has no more to say: closed with its last reply
	rest     []byte         // its last message, which lacks a delimiter and waits for room
	long     bool           // its last message was too long for one
	failed   bool           // a program has died with its messages
	leaving  bool           // the service ends: closed with its last reply
	timeout  time.Duration
}

func clientOf(c *evloop.Conn) *client { return SessionOf(c).Data.(*client) }

// Size is how many clients there are, for process.Audience, like the methods
// Proceed, Deliver, Overlong and Gone.
func (h *handler) Size() int { return len(h.clients) }

func newHandler(conf *config.Service, env Env) *handler {
	h := &handler{
		log:     env.Log,
		loop:    env.Loop,
		last:    newRemainder(conf, env),
		lose:    env.Lose,
		sending: env.Sending,
		changed: env.Changed,
		wire:    newEncoder(),
		clients: make(map[uint64]*evloop.Conn),
	}
	h.fan = newFanout(env)
	h.fan.tells, h.fan.passed = true, func() {
		h.program.ResumeOutput()
	}
	h.program = process.New(conf.Of.(*config.Handler).Command, env.Loop, env.Log, h)
	h.program.Waits = h.noteStart
	h.Adjust(conf)
	return h
}

// Adjust takes other keys. If the command is another one, the program that runs has
// drain_timeout to answer what it has got. What it does not answer is told its clients
// by the key error; messages that it has not got wait for the next program.
func (h *handler) Adjust(conf *config.Service) {
	h.conf, h.keys = conf, conf.Of.(*config.Handler)
	h.frame = newFraming(h.keys.Delimiter, conf.MaxLine)
	h.last.adjust(conf)
	h.fan.adjust(conf.Queue)
	h.program.Surround(process.Surroundings{Env: h.keys.Env, Directory: h.keys.Directory})
	h.program.Renew(h.keys.Command, conf.DrainTimeout)
}

// Adjusted tells the program of a client, if that is new.
func (h *handler) Adjusted(c *evloop.Conn) { h.introduce(c) }

// Start starts the program and does not wait for it: clients that come
// earlier are paused until it runs.
func (h *handler) Start() { h.program.Start() }

// noteStart has the status say whether the program can be started.
func (h *handler) noteStart() {
	if failed := h.program.Unstarted(); failed != h.unstarted {
		h.unstarted = failed
		h.changed()
	}
}

// View says whether the program can be started.
func (h *handler) View(v *view.Service) { v.Unstarted = h.unstarted }

// Stop ends the program: see process.Program.
func (h *handler) Stop(ended func()) { h.program.Stop(ended) }

// Open makes a client known.
func (h *handler) Open(c *evloop.Conn) {
	SessionOf(c).Data = new(client)
	h.clients[SessionOf(c).ID] = c
	h.fan.add(c)
	h.introduce(c)
}

// introduce tells the program of a new client, if it wants to know and can be
// told now.
func (h *handler) introduce(c *evloop.Conn) {
	if cl := clientOf(c); h.keys.Events && !cl.told && h.program.Ready() {
		cl.told = true
		h.tell(SessionOf(c), eventOpen, nil)
	}
}

// tell sends an event to the program.
func (h *handler) tell(s *Session, what string, data []byte) {
	ev := event{Conn: s.ID, Event: what, Service: h.conf.Name, Peer: s.Peer().String()}
	if what == eventMessage {
		ev.setData(data)
	}
	h.program.Write(h.wire.line(&ev))
}

// Data passes on the messages in p, as far as the program takes them.
func (h *handler) Data(c *evloop.Conn, p []byte) (n int) {
	for n < len(p) {
		if !h.program.Ready() {
			h.block(c)
			return n
		}
		msg, took, found := h.next(p[n:])
		switch found {
		case cutNone:
			return n
		case cutLong:
			tooLong(c)
			return len(p)
		}
		h.introduce(c)
		if !h.program.Ready() {
			continue // the introduction took the last room
		}
		h.ask(c, msg)
		n += took
	}
	return n
}

// ask gives the program, which is ready, a message.
func (h *handler) ask(c *evloop.Conn, msg []byte) {
	clientOf(c).until = 0
	h.awaits(c, clientOf(c).pending+1)
	h.tell(SessionOf(c), eventMessage, msg)
}

// next cuts a message off p. Without a delimiter a message is what one read
// returned, as in the tutorial's server; a long one is cut at max_line.
func (h *handler) next(p []byte) (msg []byte, n int, found cut) {
	if len(h.frame.delim) > 0 {
		return h.frame.next(p)
	}
	n = min(len(p), h.frame.max)
	return p[:n], n, cutLine
}

// EOF waits for the replies that are due. A client that only listens came for
// what goes to all.
func (h *handler) EOF(c *evloop.Conn) {
	cl := clientOf(c)
	cl.eof = !listens(c)
	switch msg, found := h.last.line(c, h.frame); found {
	case cutLine:
		cl.rest = bytes.Clone(msg)
		h.finishAsking(c)
	case cutLong:
		cl.long = true
	}
	h.endIfServed(c)
}

// finishAsking passes on a last message without delimiter, when the program
// has room for it.
func (h *handler) finishAsking(c *evloop.Conn) {
	cl := clientOf(c)
	if cl.rest == nil {
		return
	}
	if h.introduce(c); !h.program.Ready() {
		h.block(c)
		return
	}
	h.ask(c, cl.rest)
	cl.rest = nil
}

// endIfServed ends a connection that only waits for replies when it has them.
func (h *handler) endIfServed(c *evloop.Conn) {
	cl := clientOf(c)
	if cl.pending > 0 || cl.rest != nil {
		return
	}
	if cl.leaving || cl.eof {
		h.fan.catchUp(c)
	}
	switch {
	case cl.leaving && cl.failed:
		c.CloseAfterFlush(cl.timeout, ErrUnanswered)
	case cl.leaving:
		c.CloseAfterFlush(cl.timeout, nil)
	case cl.eof && cl.failed:
		c.CloseAfterFlush(untilStalled, ErrUnanswered)
	case cl.eof && cl.long:
		tooLong(c)
	case cl.eof:
		finish(c)
	}
}

// Drain lets a client wait for its replies, for timeout at most. A message that the
// program has not taken by now will not be answered: the connection ends, and the log
// has the reason.
func (h *handler) Drain(c *evloop.Conn, left []byte, timeout time.Duration) {
	cl := clientOf(c)
	cl.leaving, cl.timeout = true, timeout
	h.loop.Cancel(cl.limit)
	if _, _, found := h.next(left); cl.blocked && (found == cutLine || cl.rest != nil) {
		h.lose(report.LostUnanswered, 1) // one at least; nobody has counted the others
		cl.failed, cl.rest = true, nil
	}
	if !c.Closing() && unheard(h.log, c, 0) != nil {
		cl.failed = true
	}
	if cl.pending > 0 {
		c.Pause()
		h.schedule(c, timerDrain, h.loop.Now().Add(timeout))
	}
	h.endIfServed(c)
}

// Drained has nothing to go on with.
func (*handler) Drained(*evloop.Conn) {}

// Closed forgets a client. One that leaves by itself, or is sent away by the
// program, does not want its replies any more; those of the others are lost.
func (h *handler) Closed(c *evloop.Conn, err error) {
	s := SessionOf(c)
	delete(h.clients, s.ID)
	h.fan.remove(c)
	if _, left := errors.AsType[unix.Errno](err); err != nil && !left {
		h.missed += clientOf(c).pending
		h.lose(report.LostUnanswered, clientOf(c).pending)
	}
	switch {
	case !clientOf(c).told:
	case h.program.Ready():
		h.tell(s, eventClose, nil)
	case h.program.Running():
		// Every one in this list was connected when the pipe was full, and
		// nobody is introduced before it has room again. So it is bounded by
		// the number of connections.
		h.untold = append(h.untold, s)
	}
}

// Proceed is called when the program takes input: it has started, or its queue
// has drained. First the program is told which clients have come and gone. Then the
// clients that were paused go on, in the random order of a map: in a fixed order
// the first few would fill the queue each time.
func (h *handler) Proceed() {
	h.noteStart()
	for len(h.untold) > 0 && h.program.Ready() {
		h.tell(h.untold[0], eventClose, nil)
		h.untold = h.untold[1:]
	}
	for _, c := range h.clients {
		h.introduce(c)
		if cl := clientOf(c); cl.blocked && !cl.leaving {
			cl.blocked, cl.until = false, 0
			h.loop.Cancel(cl.limit)
			c.Resume()
			h.finishAsking(c)
		}
	}
}

// Gone is called when the program has ended and all it had said was read.
// Clients stay; those that wait for a reply are told. It returns how many messages the
// program has got and not answered: those of clients that still wait, and of clients that
// were cut since its start.
func (h *handler) Gone() (unanswered int) {
	h.untold = nil
	missed := h.missed
	h.missed = 0
	if h.late > 0 {
		h.log.LateReplies(h.late)
		h.late = 0
	}
	for _, c := range h.clients {
		cl := clientOf(c)
		cl.told = false
		unanswered += cl.pending
		h.fail(c, cl)
	}
	if unanswered > 0 {
		h.lose(report.LostUnanswered, unanswered)
	}
	return missed + unanswered
}

// fail tells a client, once, that it will get no reply.
func (h *handler) fail(c *evloop.Conn, cl *client) {
	if cl.pending == 0 {
		return
	}
	cl.failed = true
	h.awaits(c, 0)
	h.reply(c, []byte(h.keys.Error))
	cl.failed = false
}
