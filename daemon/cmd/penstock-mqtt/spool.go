// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/autopaho/queue"
)

// What is to be published waits in the spool, the oldest first:
//
//	add ─► tail (memory) ─► files (disk) ─► head (memory) ─► library ─► broker
//	         └──(no files)───────────────────►┘    ▲            │
//	                                     rescue────┴────────────┘ the broker has forgotten us
//
// While the broker takes what comes, no file is written: a board's flash is not worn by a
// line a second. What waits goes to files when the memory is full, now and then while there
// is no broker, and at the end. Bytes and age are bounded. What is dropped is the oldest, by
// whole messages, and is counted. What a shared room says goes past all that: it knows by
// itself what others have missed (package boards).
//
// The library's own queue of files was the alternative. It has a file for each message,
// online as well; it takes their times for their order, and of 2,000 messages that came at
// once all but 18 left in another place; it reads the whole folder for each that leaves; and
// it has no bounds. So this is behind the same interface, the one that the library has for
// queues of its users.

const (
	// memoryBound is how many bytes of the tail are kept before they go to a file.
	memoryBound = 256 << 10
	// diskBound is how many bytes the files have together.
	diskBound = 16 << 20
	// quickBound is how many bytes wait that are of no use after this connection.
	quickBound = 4 << 20
	// oldest is the age at which a message is not sent any more.
	oldest = 24 * time.Hour
	// flightBound is how many bytes, and flightCount how many messages, the broker may owe
	// an answer for. The library would take 65,535 messages.
	flightBound = 256 << 10
	flightCount = 256
	// saveAfter is how old a message is when it is written to a file in any case.
	saveAfter = time.Minute
)

// A parcel is a message that waits, as it goes over the wire.
type parcel struct {
	at     time.Time
	packet []byte
}

// A spool holds what waits. It is a queue.Queue of the library.
type spool struct {
	files  *spoolFiles // nil: there is no folder
	now    func() time.Time
	report func(reason string, n int) // of what is dropped; called with mu held
	fit    func(packet []byte) []byte // what the broker takes of it; nil: it takes none

	flight flight

	mu        sync.Mutex // guards the following
	quick     []parcel   // goes first, and no further than this connection
	quickSize int
	turn      int // counts the connections
	head      []parcel
	tail      []parcel
	headSize  int
	tailSize  int
	loaded    bool          // the first file holds the head, or more: what was sent of it
	wake      chan struct{} // closed when there is something to send
}

func newSpool(files *spoolFiles, report func(string, int)) *spool {
	return &spool{
		files: files, now: time.Now, report: report, wake: make(chan struct{}),
		fit: func(p []byte) []byte { return p },
	}
}

// add takes a packet, which the spool owns then.
func (s *spool) add(packet []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := parcel{s.now(), packet}
	s.tail, s.tailSize = append(s.tail, p), s.tailSize+len(packet)
	if s.tailSize > memoryBound {
		s.toDisk()
	}
	s.wakeUp()
}

// addQuick takes a packet that is of no use after this connection. It reports whether there
// is room for it.
func (s *spool) addQuick(packet []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.quickSize+len(packet) > quickBound {
		return false
	}
	s.quick, s.quickSize = append(s.quick, parcel{s.now(), packet}), s.quickSize+len(packet)
	s.wakeUp()
	return true
}

// disconnected forgets what was for this connection alone.
func (s *spool) disconnected() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quick, s.quickSize = nil, 0
	s.turn++
}

// Enqueue is for the library, which calls it in PublishViaQueue. We do not.
func (s *spool) Enqueue(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err == nil {
		s.add(b)
	}
	return err
}

// rescue puts back what was under way when the broker forgot us, or when we end.
func (s *spool) rescue(packets [][]byte) {
	if len(packets) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	front := make([]parcel, 0, len(packets)+len(s.head))
	for _, b := range packets {
		front = append(front, parcel{s.now(), b})
		s.headSize += len(b)
	}
	s.head = append(front, s.head...)
	if s.loaded && s.files.writeFirst(s.head) { // the file of the head has not what is put back
		s.files.remove(1)
	}
	s.wakeUp()
}

// toDisk writes the tail to a file. If that cannot be, the oldest goes.
func (s *spool) toDisk() {
	if len(s.tail) == 0 {
		return
	}
	if s.files != nil && s.files.write(s.tail, s.loaded, s.report) {
		s.tail, s.tailSize = nil, 0
		return
	}
	n := 0
	for n < len(s.tail) && s.tailSize > memoryBound {
		s.tailSize -= len(s.tail[n].packet)
		n++
	}
	if n > 0 {
		s.tail = append([]parcel(nil), s.tail[n:]...)
		s.report("full", n)
	}
}

// save writes everything that waits to files, as before the end. aged leaves what is young,
// which may be gone the next moment.
func (s *spool) save(aged bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	young := func(list []parcel) bool { return aged && (len(list) == 0 || s.now().Sub(list[0].at) < saveAfter) }
	if !young(s.tail) {
		s.toDisk()
	}
	if s.files != nil && !s.loaded && len(s.head) > 0 && !young(s.head) {
		s.loaded = s.files.writeFirst(s.head)
	}
	if s.loaded && !aged {
		s.dropSent()
	}
}

// dropSent has the file of the head hold what was not sent, and no more.
func (s *spool) dropSent() {
	switch left := len(s.head); {
	case left == 0:
		s.files.removeFirst()
		s.loaded = false
	case left < s.files.list[0].count && s.files.writeFirst(s.head):
		s.files.remove(1)
	}
}

// fill makes a head if there is none. It reports whether there is one.
func (s *spool) fill() bool {
	for len(s.head) == 0 {
		if s.loaded {
			s.files.removeFirst()
			s.loaded = false
		}
		if s.files != nil {
			if list, ok := s.files.first(); ok {
				s.head, s.loaded = list, true
				for _, p := range list {
					s.headSize += len(p.packet)
				}
				continue // it may hold nothing that can be read
			}
		}
		if len(s.tail) == 0 {
			return false
		}
		s.head, s.headSize, s.tail, s.tailSize = s.tail, s.tailSize, nil, 0
	}
	return true
}

// ready reports whether the library gets something.
func (s *spool) ready() bool { return !s.flight.full() && (len(s.quick) > 0 || s.fill()) }

// wakeUp ends the waiting.
func (s *spool) wakeUp() {
	if !s.ready() {
		return
	}
	close(s.wake)
	s.wake = make(chan struct{})
}

// landed is called when the broker has answered for a message.
func (s *spool) landed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wakeUp()
}

// Wait returns a channel that is closed when there is something to send.
func (s *spool) Wait() chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ready() {
		now := make(chan struct{})
		close(now)
		return now
	}
	return s.wake
}

// Peek returns the first message. The library calls Remove of it, or Leave, before it
// peeks again.
func (s *spool) Peek() (queue.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.ready() {
		quick := len(s.quick) > 0
		p := parcel{}
		if quick {
			p = s.quick[0]
		} else {
			p = s.head[0]
		}
		switch packet := s.fit(p.packet); {
		case s.now().Sub(p.at) > oldest:
			s.report("too_old", 1)
		case packet == nil:
			s.report("too_long_for_broker", 1)
		default:
			return entry{s, packet, quick, s.turn}, nil
		}
		s.drop(quick)
	}
	return nil, queue.ErrEmpty
}

// drop forgets the first message.
func (s *spool) drop(quick bool) {
	if quick {
		s.quickSize -= len(s.quick[0].packet)
		s.quick[0] = parcel{}
		s.quick = s.quick[1:]
		return
	}
	s.headSize -= len(s.head[0].packet)
	s.head[0] = parcel{}
	if s.head = s.head[1:]; len(s.head) == 0 {
		s.head = nil
	}
}

// size returns how many bytes wait.
func (s *spool) size() (bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	bytes = int64(s.quickSize + s.headSize + s.tailSize)
	if s.files != nil {
		bytes += s.files.size(s.loaded)
	}
	return bytes
}

// An entry is the first message of a spool, for the library.
type entry struct {
	s      *spool
	packet []byte
	quick  bool
	turn   int
}

func (e entry) Reader() (io.Reader, error) { return bytes.NewReader(e.packet), nil }

func (e entry) Leave() error { return nil }

func (e entry) Remove() error {
	e.s.mu.Lock()
	defer e.s.mu.Unlock()
	if e.quick && e.turn == e.s.turn || !e.quick && len(e.s.head) > 0 {
		e.s.drop(e.quick)
	}
	return nil
}

// Quarantine is called for what the library cannot read. We have made it, so it is a file
// that was spoiled.
func (e entry) Quarantine() error {
	e.s.mu.Lock()
	e.s.report("spoiled", 1)
	e.s.mu.Unlock()
	return e.Remove()
}

// A flight counts what the broker owes an answer for.
type flight struct{ bytes, count atomic.Int64 }

func (f *flight) full() bool { return f.bytes.Load() >= flightBound || f.count.Load() >= flightCount }

func (f *flight) add(bytes, count int) {
	f.bytes.Add(int64(bytes))
	f.count.Add(int64(count))
}
