// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/follow"
	"penstock/daemon/internal/report"
	"penstock/evloop"
)

// A tail sends a file that grows to all its clients, line by line. What follows the
// file through its rotations is in package follow.
//
// A disk may stop whoever reads from it for seconds. So a look at the file is taken by
// a goroutine, never more than one, which ends with the look. The loop takes what it
// has found, cuts it into lines, and has the next look taken when all of them are with
// the fanout: no more than one piece of the file is in flight, however fast it grows.
// Nothing runs between the looks.
//
//	inotify ─► look ─► goroutine: read a piece ─► found ─► lines ─┬─► recent
//	            ▲                                           │     └─► fanout ─► clients
//	            └──────────── more, or an event meanwhile ◄─┘ all of them
//
// Where a client begins and what it then gets come from this one pass: a newcomer gets
// the recent lines and is a member of the fanout from the next line on. At the start,
// the lines that were in the file already pass in the same way.
//
// A client that reads slowly holds up nobody and not the file. What happens to it is
// its overflow policy.
type tail struct {
	keys *config.Tail
	max  int // bytes of a line, or of its pieces
	loop *evloop.Loop
	log  *report.Service
	fan  *fanout

	file    *follow.File // nil: not started, or out of descriptors
	read    func(*follow.File) follow.Found
	watch   *evloop.Watch
	looking bool // a goroutine has the file
	again   bool // there was an event meanwhile, or there is more
	timer   evloop.TimerID
	stopped bool
	trouble string // why the file cannot be read, as it was logged last

	data []byte // of the last look
	done int    // of these, in lines or in half
	at   follow.Place
	half []byte // the beginning of a line
	long int    // bytes of the line that were sent in pieces
	busy bool   // cut is at work

	recent recent
	feed   Feed
}

// retryLook is the wait after an error that no event will tell the end of.
const retryLook = 10 * time.Second

func newTail(conf *config.Service, env Env) *tail {
	s := &tail{loop: env.Loop, log: env.Log, fan: newFanout(env), read: (*follow.File).Look}
	s.fan.tells, s.fan.passed = true, s.cut
	s.feed = newFeed(&s.recent)
	s.keys = conf.Of.(*config.Tail)
	s.Adjust(conf)
	return s
}

// Adjust takes another file, whose last lines all clients get, or other bounds.
func (s *tail) Adjust(conf *config.Service) {
	keys := conf.Of.(*config.Tail)
	moved := keys.File != s.keys.File
	s.keys, s.max = keys, conf.MaxLine
	s.fan.adjust(conf.Queue)
	s.recent.adjust(keys.History, conf.HistoryBound())
	if moved {
		s.endLine()
		s.recent.clear()
		s.release()
		s.data, s.done, s.at, s.again = nil, 0, follow.Place{}, false
		s.Start()
	}
}

// Adjusted has nothing to do.
func (*tail) Adjusted(*evloop.Conn) {}

// Start begins to follow the file, from its last lines on or where the process before
// has been.
func (s *tail) Start() {
	file, err := follow.New(s.keys.File, s.keys.History, s.recent.bound)
	if err != nil {
		s.fail(err)
		return
	}
	if s.watch, err = s.loop.Watch(file.Queue(), unix.EPOLLIN, s); err != nil {
		file.Close()
		s.fail(err)
		return
	}
	if s.at.Ino != 0 {
		file.Resume(s.at)
		s.log.FileFollowed(s.keys.File, "resumed", s.at.Offset)
	}
	s.file = file
	s.look()
}

// Stop lets go of the file. A goroutine that has it does so when its look is over.
func (s *tail) Stop(ended func()) {
	s.stopped = true
	s.loop.Cancel(s.timer)
	s.release()
	ended()
}

// release lets go of the file.
func (s *tail) release() {
	if s.file == nil {
		return
	}
	s.watch.Close()
	if !s.looking {
		s.file.Close()
	}
	s.file, s.looking = nil, false
}

// Ready is called when something has happened to the file.
func (s *tail) Ready(*evloop.Watch, uint32) { s.look() }

// Expired tries again after an error.
func (s *tail) Expired(*evloop.Loop, evloop.Timer) {
	s.timer = evloop.TimerID{}
	if s.file == nil {
		s.Start()
		return
	}
	s.look()
}

// look has a look taken, now or when the last one is dealt with.
func (s *tail) look() {
	if s.looking || s.done < len(s.data) {
		s.again = true
		return
	}
	s.looking, s.again = true, false
	go func(file *follow.File) {
		found := s.read(file)
		s.loop.PostOr(func() { s.found(file, found) }, file.Close)
	}(s.file)
}

// events are the words for what can have happened to the file.
var events = map[follow.Event]string{
	follow.Opened: "opened", follow.Replaced: "replaced", follow.Truncated: "truncated",
}

// found takes what a look has found.
func (s *tail) found(file *follow.File, found follow.Found) {
	if file != s.file {
		file.Close() // it was let go of meanwhile
		return
	}
	s.looking = false
	s.again = s.again || found.More
	if found.Event != follow.None {
		s.endLine()
	}
	if word, ok := events[found.Event]; ok {
		s.log.FileFollowed(s.keys.File, word, found.Start.Offset)
	}
	if found.Missed > 0 {
		s.log.FileMissed(s.keys.File, found.Missed)
	}
	if found.Start.Ino != 0 {
		s.data, s.done, s.at, s.trouble = found.Data, 0, found.Start, ""
	}
	if found.Err != nil {
		s.fail(found.Err)
	}
	s.cut()
}

// fail says once why the file cannot be read. Most reasons end with an event.
func (s *tail) fail(err error) {
	if text := err.Error(); text != s.trouble {
		s.trouble = text
		s.log.FileAwaited(s.keys.File, err)
	}
	if !errors.Is(err, os.ErrNotExist) && !s.stopped {
		s.loop.Cancel(s.timer)
		s.timer = s.loop.Schedule(evloop.Timer{Deadline: s.loop.Now().Add(retryLook), Handler: s})
	}
}

// cut passes on the lines of the last look, as far as the clients get on with them, and
// goes on when the fanout has made room. Then it has the next look taken.
func (s *tail) cut() {
	if s.busy {
		return // the fanout has passed a line on at once
	}
	s.busy = true
	for s.done < len(s.data) && !s.fan.behind() {
		s.done += s.take(s.data[s.done:])
	}
	s.busy = false
	if s.done < len(s.data) {
		return
	}
	if s.data != nil {
		s.at, s.data, s.done = s.place(), nil, 0
	}
	if s.again && s.file != nil {
		s.look()
	}
}

// place returns where the next byte is that is neither with the fanout nor in half.
func (s *tail) place() follow.Place { return s.at.After(s.data[:s.done]) }

// take takes a line, or what there is of it, off p. A line that is too long goes out in
// pieces: nothing of the file is left out.
func (s *tail) take(p []byte) (n int) {
	room := max(s.max-len(s.half), 0) // half may be of a longer max_line
	i := bytes.IndexByte(p[:min(len(p), room+1)], '\n')
	switch {
	case i >= 0:
		s.send(p[:i+1])
		if s.long > 0 {
			s.log.LongLine(s.keys.File, s.long+i)
			s.long = 0
		}
		return i + 1
	case len(p) <= room:
		s.half = append(s.half, p...)
		return len(p)
	}
	s.long += len(s.half) + room
	s.send(p[:room])
	return room
}

// send passes on what is in half, and p behind it.
func (s *tail) send(p []byte) {
	m := evloop.NewMessage(append(s.half, p...))
	s.half = nil
	s.recent.keep(m, nil)
	s.fan.send(m, nil)
	s.feed.one(m.Bytes(), &ofSource)
}

// endLine passes on a last line that lacks its end: its file is complete.
func (s *tail) endLine() {
	if len(s.half) > 0 || s.long > 0 {
		s.send(lineEnd)
		s.long = 0
	}
}

// ofSource is what is known of a line of a file, of a payload and of a device's message.
var ofSource = About{Origin: OriginSource}

// Feed is for Feeder.
func (s *tail) Feed() *Feed { return &s.feed }

// Open shows a client the recent lines, and makes it a member.
func (s *tail) Open(c *evloop.Conn) {
	s.fan.add(c)
	s.recent.show(c)
}

// Data throws away what a client says.
func (*tail) Data(_ *evloop.Conn, p []byte) int { return len(p) }

// EOF ends the connection, but not the feed of one that only listens.
func (s *tail) EOF(c *evloop.Conn) {
	if !listens(c) {
		s.fan.catchUp(c)
		finish(c)
	}
}

// Drain ends a connection when the service ends.
func (s *tail) Drain(c *evloop.Conn, _ []byte, timeout time.Duration) {
	s.fan.catchUp(c)
	c.CloseAfterFlush(timeout, nil)
}

// Drained has nothing to go on with: the next line comes when it is written.
func (*tail) Drained(*evloop.Conn) {}

// Closed removes a client.
func (s *tail) Closed(c *evloop.Conn, _ error) { s.fan.remove(c) }
