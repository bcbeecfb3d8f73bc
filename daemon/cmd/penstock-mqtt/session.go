// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"io"
	"strings"
	"sync"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho/session/state"
	"github.com/eclipse/paho.golang/paho/store/memory"
)

// A session is what the library remembers between two connections: what was published and
// not answered for. It is the library's own, but for two things that would be lost in
// silence:
//
//   - A broker that comes back without its memory forgets the session, and the library then
//     forgets what was under way. Here that goes back to the spool.
//   - A broker may refuse a single message, for rights that the user has not. The library
//     tells only who waits for the answer, and nobody does.
type session struct {
	*state.State
	store   *store
	refused func(topic string, code byte)
}

func newSession(s *spool, refused func(topic string, code byte)) *session {
	st := &store{Store: memory.New(), spool: s, sizes: make(map[uint16]int)}
	return &session{state.New(st, memory.New()), st, refused}
}

// refusedFrom is the first of the reasons that are errors (section 2.4 of MQTT 5.0).
const refusedFrom = 0x80

// PacketReceived is called for each packet that has a number.
func (s *session) PacketReceived(p *packets.ControlPacket, to chan<- *packets.Publish) error {
	var id uint16
	var code byte
	switch c := p.Content.(type) {
	case *packets.Puback:
		id, code = c.PacketID, c.ReasonCode
	case *packets.Pubrec:
		id, code = c.PacketID, c.ReasonCode
	}
	if code >= refusedFrom {
		s.refused(s.store.topic(id), code)
	}
	return s.State.PacketReceived(p, to)
}

// A store holds what was sent and not answered for, by number.
type store struct {
	*memory.Store
	spool *spool

	mu    sync.Mutex
	sizes map[uint16]int
}

// Put keeps a packet. Of one with QoS 2 the library puts another in its place.
func (s *store) Put(id uint16, kind byte, w io.WriterTo) error {
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		return err
	}
	s.mu.Lock()
	before, again := s.sizes[id]
	s.sizes[id] = b.Len()
	s.mu.Unlock()
	count := 1
	if again {
		count = 0
	}
	s.spool.flight.add(b.Len()-before, count)
	return s.Store.Put(id, kind, &b)
}

// Delete forgets a packet.
func (s *store) Delete(id uint16) error {
	s.forget(id)
	return s.Store.Delete(id)
}

// Quarantine is for a packet that cannot be read.
func (s *store) Quarantine(id uint16) error { return s.Delete(id) }

func (s *store) forget(id uint16) {
	s.mu.Lock()
	size, ok := s.sizes[id]
	delete(s.sizes, id)
	s.mu.Unlock()
	if ok {
		s.spool.flight.add(-size, -1)
		s.spool.landed()
	}
}

// Reset is called when the broker has forgotten the session.
func (s *store) Reset() error {
	ids, err := s.List()
	if err != nil {
		return err
	}
	var rest [][]byte
	for _, id := range ids {
		if b, publish := s.get(id); publish != nil && !strings.HasPrefix(publish.Topic, roomPrefix) {
			rest = append(rest, b)
		}
		s.forget(id)
	}
	s.spool.rescue(rest)
	return s.Store.Reset()
}

// get returns a packet, also as what it publishes; nil: it is the second half of QoS 2, and
// the broker has the message.
func (s *store) get(id uint16) ([]byte, *packets.Publish) {
	r, err := s.Get(id)
	if err != nil {
		return nil, nil
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, nil
	}
	p, err := packets.ReadPacket(bytes.NewReader(b))
	if err != nil {
		return nil, nil
	}
	publish, _ := p.Content.(*packets.Publish)
	return b, publish
}

// topic returns where a packet was to go.
func (s *store) topic(id uint16) string {
	if _, p := s.get(id); p != nil {
		return p.Topic
	}
	return ""
}
