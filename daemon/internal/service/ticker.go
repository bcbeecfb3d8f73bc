// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"errors"
	"time"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/record"
	"penstock/daemon/internal/report"
	"penstock/evloop"
)

// A ticker sends a payload to all its clients at every interval, and answers
// PING.
//
// There is one timer for the service and not one for each client: all of them
// get the same immutable message in the same turn. The deadlines are absolute,
// so that a late turn does not make the next one late, and without a client
// there is no timer.
//
//	deadline  0     T     2T    3T    4T
//	sent      |     |      |..........|      3T was missed: it is left out,
//	                                         not made up for by a burst
type ticker struct {
	fan      *fanout // to all clients
	feed     Feed
	payload  *evloop.Message
	interval time.Duration
	next     evloop.Time
	carried  bool // next is from the former process, and holds for the first client
	timer    evloop.TimerID
	log      *report.Service
	logInput bool
	loop     *evloop.Loop
	lose     func(reason report.Reason, messages int)
}

func newTicker(conf *config.Service, env Env) *ticker {
	s := &ticker{loop: env.Loop, log: env.Log, lose: env.Lose, fan: newFanout(env), feed: newFeed(nil)}
	s.Adjust(conf)
	return s
}

// Adjust takes another payload and interval. The next payload comes one new interval
// after the last one, or now if that is over.
func (s *ticker) Adjust(conf *config.Service) {
	keys := conf.Of.(*config.Ticker)
	if s.payload == nil || !bytes.Equal(s.payload.Bytes(), []byte(keys.Payload)) {
		s.payload = evloop.NewMessage([]byte(keys.Payload))
	}
	s.fan.adjust(conf.Queue)
	s.logInput = keys.LogInput
	if change := keys.Interval - s.interval; change != 0 {
		s.interval = keys.Interval
		if s.audience() > 0 {
			s.loop.Cancel(s.timer)
			s.next = max(s.next.Add(change), s.loop.Now())
			s.arm()
		}
	}
}

// Adjusted has nothing to do: the next payload comes at its time.
func (*ticker) Adjusted(*evloop.Conn) {}

// Open adds a client; the first one starts the clock.
func (s *ticker) Open(c *evloop.Conn) {
	SessionOf(c).Data = new(command)
	s.carried = false // none of those for whom the clock went on has come along
	s.enter(c)
}

func (s *ticker) enter(c *evloop.Conn) {
	s.fan.add(c)
	s.begin()
}

// audience is for how many the clock goes.
func (s *ticker) audience() int { return len(s.fan.members) + len(s.feed.followers) }

// begin starts the clock for the first of them.
func (s *ticker) begin() {
	if s.audience() > 1 {
		return
	}
	if !s.carried {
		s.next = s.loop.Now().Add(s.interval)
	}
	s.carried = false
	s.arm()
}

// Closed removes a client; the last one stops the clock.
func (s *ticker) Closed(c *evloop.Conn, _ error) {
	s.fan.remove(c)
	s.Followed(false)
}

// Feed is for Feeder.
func (s *ticker) Feed() *Feed { return &s.feed }

// Followed starts the clock, or stops it, for Watched.
func (s *ticker) Followed(on bool) {
	if on {
		s.begin()
	} else if s.audience() == 0 {
		s.loop.Cancel(s.timer)
	}
}

func (s *ticker) arm() { s.timer = s.loop.Schedule(evloop.Timer{Deadline: s.next, Handler: s}) }

// Expired sends the payload, unless there are so many clients that they have
// not all got the last one yet: then this one is missed.
func (s *ticker) Expired(l *evloop.Loop, _ evloop.Timer) {
	if s.fan.idle() {
		s.fan.send(s.payload, nil)
		s.feed.one(s.payload.Bytes(), &ofSource)
	}
	s.next = nextTick(s.next, l.Now(), s.interval)
	s.arm()
}

// nextTick returns the first deadline of the series after now, given the one
// that has just been served.
func nextTick(served, now evloop.Time, interval time.Duration) evloop.Time {
	missed := now.Sub(served) / interval
	return served.Add((missed + 1) * interval)
}

// EOF ends the connection, but not the feed of one that only listens.
func (s *ticker) EOF(c *evloop.Conn) {
	if !listens(c) {
		s.fan.catchUp(c)
		finish(c)
	}
}

// Drain ends a connection when the service ends.
func (s *ticker) Drain(c *evloop.Conn, left []byte, timeout time.Duration) {
	dismiss(c, left, lineEnd, dismissal{s.log, s.lose}, timeout)
}

// Drained has nothing to go on with; the next payload comes at its time.
func (*ticker) Drained(*evloop.Conn) {}

var (
	lineEnd        = []byte("\n")
	pong           = []byte("+PONG\r\n")
	unknownCommand = []byte("-ERR unknown command\r\n")
)

// Data answers the commands in p, and takes the beginning of one as well: the
// tutorial's client sends words without any line end for as long as it lives, and
// must not be taken for one that sends a line without end.
func (s *ticker) Data(c *evloop.Conn, p []byte) (n int) {
	cmd := SessionOf(c).Data.(*command)
	for served := 0; n < len(p) && another(c, served); served++ {
		i := bytes.IndexByte(p[n:], '\n')
		if i < 0 {
			cmd.add(p[n:])
			n = len(p)
			break
		}
		cmd.add(p[n : n+i])
		switch {
		case cmd.is("PING"):
			c.WriteStatic(pong)
		case cmd.begins("CONFIG"):
			// redis-benchmark asks for the server's configuration first and
			// goes on without it, but waits for an answer.
			c.WriteStatic(unknownCommand)
		}
		cmd.n = 0
		n += i + 1
	}
	if s.logInput {
		s.log.InputReceived(SessionOf(c).ID, p[:n])
	}
	return n
}

// A command is the beginning of the line that is coming in: as much of it as
// is needed to tell commands from everything else, which is ignored.
type command struct {
	word [7]byte
	n    uint8 // bytes of the line so far, no more than one beyond word
}

func (w *command) add(p []byte) {
	if room := w.word[min(int(w.n), len(w.word)):]; len(room) >= len(p) {
		w.n += uint8(copy(room, p))
	} else {
		copy(room, p)
		w.n = uint8(len(w.word)) + 1
	}
}

// is reports whether the line is this word and nothing else but white space.
func (w *command) is(word string) bool {
	return int(w.n) <= len(w.word) && fold(bytes.TrimSpace(w.word[:w.n]), word)
}

// begins reports whether the line starts with this word, of six letters or
// less.
func (w *command) begins(word string) bool {
	n := min(int(w.n), len(w.word))
	if n < len(word) || !fold(w.word[:len(word)], word) {
		return false
	}
	return n == len(word) || w.word[len(word)] <= ' '
}

// fold reports whether p is word, whatever the case; word is in upper case.
func fold(p []byte, word string) bool {
	if len(p) != len(word) {
		return false
	}
	for i := range p {
		if b := p[i]; b != word[i] && b != word[i]+('a'-'A') {
			return false
		}
	}
	return true
}

// Save returns when the next payload is due, and gives every client the last one.
func (s *ticker) Save() []byte {
	s.fan.settle()
	next := s.next
	if len(s.fan.members) == 0 {
		next = 0 // the first client begins
	}
	var w record.Writer
	w.Number(uint64(s.interval))
	w.Number(uint64(next))
	s.feed.save(&w)
	return w
}

// Load goes on with the clock of the former process: nobody gets a payload twice, and
// the next ones come when they would have come without the restart. What was due
// meanwhile comes once.
func (s *ticker) Load(state []byte) error {
	r := record.NewReader(state)
	interval, next := time.Duration(r.Number()), evloop.Time(r.Number())
	numbers, err := readNumbers(r)
	if err := errors.Join(r.Err(), err); err != nil {
		return err
	}
	s.feed.goOn(numbers)
	if next == 0 {
		return nil
	}
	if interval <= 0 || next < 0 {
		return record.ErrDamaged
	}
	s.next = next.Add(s.interval - interval)
	s.carried = true
	return nil
}

// SaveConn returns the beginning of a command.
func (*ticker) SaveConn(c *evloop.Conn) []byte {
	cmd := SessionOf(c).Data.(*command)
	var w record.Writer
	w.Number(uint64(cmd.n))
	w.Text(cmd.word[:min(int(cmd.n), len(cmd.word))])
	return w
}

// LoadConn adds a client, and does not begin the interval anew.
func (s *ticker) LoadConn(c *evloop.Conn, state []byte) error {
	r := record.NewReader(state)
	cmd := new(command)
	n, word := r.Number(), r.Text()
	if err := r.Err(); err != nil {
		return err
	}
	if n > uint64(len(cmd.word))+1 || len(word) != min(int(n), len(cmd.word)) {
		return record.ErrDamaged
	}
	cmd.n = uint8(n)
	copy(cmd.word[:], word)
	SessionOf(c).Data = cmd
	s.enter(c)
	return nil
}
