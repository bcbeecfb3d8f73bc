// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"math"
	"time"

	"penstock/daemon/internal/record"
	"penstock/daemon/internal/report"
	"penstock/daemon/internal/view"
	"penstock/evloop"
)

// At a restart the connections of a service move to the next process, and take along
// what the service knows of them. The loop carries bytes, queues and deadlines by
// itself. Kinds that know nothing else need no code here.
//
//	Suspend ─► Save ─► SaveConn …        │        New ─► Load ─► LoadConn … ─► Start
//	 (asks a program to end)             │ records
//	                       old process   │   new process
//
// What is saved must not depend on what is configured, since the next process may have
// another configuration: a room that has no history any more gets one all the same, and
// drops it.

// A Carrier saves what it knows, for the same kind in the next process.
type Carrier interface {
	// Save returns what the service as a whole knows. Before that it gives each
	// connection the output that it is still due.
	Save() []byte
	// SaveConn returns what it knows of c. It must not write to c.
	SaveConn(c *evloop.Conn) []byte
	// Load takes what Save has returned, before the first LoadConn.
	Load(state []byte) error
	// LoadConn takes c, in place of Open. An error means that c is not served, and that
	// Closed does not follow.
	LoadConn(c *evloop.Conn, state []byte) error
}

// A Suspender has something to finish before its connections can be saved, such as a
// program that works for them. Its connections stay, and what they say meanwhile waits.
type Suspender interface {
	// Suspend asks for the end, which may take a time of about timeout, and calls
	// ended once.
	Suspend(timeout time.Duration, ended func())
}

// Save writes the session itself, for the daemon.
func (s *Session) Save(w *record.Writer) {
	w.Number(s.ID)
	if s.Peer.Addr.IsValid() {
		addr, _ := s.Peer.Addr.MarshalBinary() // cannot fail
		w.Text(addr)
	} else {
		w.Text(nil)
	}
	w.Number(uint64(s.Peer.UID))
	w.Number(uint64(uint32(s.Peer.PID)))
	w.Number(uint64(s.Since))
}

// Load reads what Save has written.
func (s *Session) Load(r *record.Reader) error {
	s.ID = r.Number()
	addr := r.Text()
	uid, pid := r.Number(), r.Number()
	s.Since = evloop.Time(r.Number())
	s.Peer = view.Peer{UID: uint32(uid), PID: int32(uint32(pid))}
	if max(uid, pid) > math.MaxUint32 {
		return record.ErrDamaged
	}
	if len(addr) == 0 {
		return nil
	}
	if err := s.Peer.Addr.UnmarshalBinary(addr); err != nil || !s.Peer.Addr.IsValid() {
		return record.ErrDamaged
	}
	if again, _ := s.Peer.Addr.MarshalBinary(); !bytes.Equal(again, addr) {
		return record.ErrDamaged // the same address in another form
	}
	return nil
}

// Save has nothing to say: where a connection is follows from the bytes it was sent.
func (*chargen) Save() []byte { return nil }

// SaveConn has nothing to say either.
func (*chargen) SaveConn(*evloop.Conn) []byte { return nil }

// Load takes nothing.
func (*chargen) Load(state []byte) error { return record.NewReader(state).Err() }

// LoadConn goes on in the next turn, unless the queue is full: Drained comes then.
func (s *chargen) LoadConn(c *evloop.Conn, state []byte) error {
	if !c.Full() && !c.Closing() {
		c.Loop().Schedule(evloop.Timer{Deadline: c.Loop().Now(), Conn: c.ID(), Handler: s})
	}
	return record.NewReader(state).Err()
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
	return w
}

// Load goes on with the clock of the former process: nobody gets a payload twice, and
// none is left out but what was due meanwhile.
func (s *ticker) Load(state []byte) error {
	r := record.NewReader(state)
	interval, next := time.Duration(r.Number()), evloop.Time(r.Number())
	if err := r.Err(); err != nil || next == 0 {
		return err
	}
	s.next = max(next.Add(s.interval-interval), s.loop.Now())
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

// Save returns the history. Every member has got all lines by then.
func (r *room) Save() []byte {
	r.tell()
	r.fan.settle()
	var w record.Writer
	w.Number(uint64(len(r.history)))
	for _, m := range r.history {
		w.Text(m.Bytes())
	}
	return w
}

// Load takes the history, as far as the bounds allow.
func (r *room) Load(state []byte) error {
	in := record.NewReader(state)
	var history []*evloop.Message
	bytesOf := 0
	for n := in.Count(1); n > 0 && in.Left(); n-- {
		m := evloop.NewMessage(bytes.Clone(in.Text())) // the records are soon garbage
		history = append(history, m)
		bytesOf += m.Len()
	}
	if err := in.Err(); err != nil {
		return err
	}
	r.history, r.historyBytes = history, bytesOf
	r.forget()
	return nil
}

// SaveConn returns the name of a client, and whether it is in the room.
func (*room) SaveConn(c *evloop.Conn) []byte {
	m := memberOf(c)
	var w record.Writer
	w.Text([]byte(m.name))
	w.Bool(m.in)
	w.Bool(m.nick)
	return w
}

// LoadConn makes c a member again, without a word to anybody. One that waited until the
// others had read may go on: the pace begins anew.
func (r *room) LoadConn(c *evloop.Conn, state []byte) error {
	in := record.NewReader(state)
	m := &member{name: string(in.Text()), in: in.Bool(), nick: in.Bool()}
	if err := in.Err(); err != nil {
		return err
	}
	if m.nick && (!validName(m.name) || !r.available(c, m.name)) {
		return record.ErrDamaged
	}
	SessionOf(c).Data = m
	if m.nick {
		r.nicks[foldName(m.name)] = c
	}
	if m.in {
		r.seat(c)
	}
	c.Resume()
	r.Adjusted(c)
	return nil
}

// Suspend asks the program to end, with the time to answer what it has got.
func (h *handler) Suspend(timeout time.Duration, ended func()) { h.program.StopWithin(timeout, ended) }

// Save has nothing to say: the program has ended, and the next process starts another.
// A client that still waits for a reply waits in vain.
func (h *handler) Save() []byte {
	h.fan.settle()
	for _, c := range h.clients {
		if cl := clientOf(c); cl.pending > 0 {
			h.lose(report.LostUnanswered, cl.pending)
			h.fail(c, cl)
		}
	}
	return nil
}

// Load takes nothing.
func (*handler) Load(state []byte) error { return record.NewReader(state).Err() }

// SaveConn returns what the client still waits for.
func (*handler) SaveConn(c *evloop.Conn) []byte {
	cl := clientOf(c)
	var w record.Writer
	w.Number(cl.replyEnd)
	w.Bool(cl.eof)
	w.Bool(cl.long)
	w.Bool(cl.rest != nil)
	w.Text(cl.rest)
	return w
}

// LoadConn has the client wait for the next program.
func (h *handler) LoadConn(c *evloop.Conn, state []byte) error {
	r := record.NewReader(state)
	cl := &client{replyEnd: r.Number(), eof: r.Bool(), long: r.Bool()}
	if rest, text := r.Bool(), r.Text(); rest {
		cl.rest = append([]byte{}, text...)
	} else if len(text) > 0 {
		return record.ErrDamaged
	}
	if err := r.Err(); err != nil {
		return err
	}
	SessionOf(c).Data = cl
	h.clients[SessionOf(c).ID] = c
	h.fan.add(c)
	c.Resume() // Data blocks it again, if it has something to say
	if cl.rest != nil && !c.Closing() {
		h.block(c)
	}
	return nil
}
