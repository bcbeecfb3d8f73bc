// SPDX-License-Identifier: Apache-2.0

package boards

import (
	"slices"
	"time"
)

// A simBroker has one room's sessions. What a board publishes is taken in its order, since
// all goes through one connection; what a board gets may be out of order between topics.
type simBroker struct {
	w        *simWorld
	on       bool
	bound    int // of a session's queue: beyond it messages are dropped in silence
	retained map[string]*simMessage
	sessions []*simSession
}

// packetSize is what PUBLISH of MQTT 5 has beside topic and payload, at QoS 1.
const packetSize = 2 + 2 + 2 + 1

type simMessage struct {
	topic    string
	kind, to string
	payload  []byte
	retained bool // sent because of a subscription
}

type simSession struct {
	of        *simBoard
	connected bool
	kept      bool // there is a session
	queue     []*simMessage
	will      time.Time // when it is published; zero: it is not
}

// take takes a message from a board.
func (k *simBroker) take(from *simBoard, s Send) {
	k.w.sums.Messages++
	kind, to, ok := parseTopic(s.Topic, simRoom)
	if !ok {
		k.w.failf("%s: topic %q", from.name, s.Topic)
		return
	}
	if kind == kindAsk {
		k.w.sums.Asks++
	}
	m := &simMessage{topic: s.Topic, kind: kind, to: to, payload: s.Payload}
	if s.Retain {
		if len(s.Payload) == 0 {
			delete(k.retained, s.Topic)
		} else {
			c := *m
			c.retained = true
			k.retained[s.Topic] = &c
		}
	}
	for _, to := range k.sessions {
		if to.of != from && to.kept && m.wanted(to.of.name) {
			k.put(to, m)
		}
	}
}

func (m *simMessage) wanted(by string) bool {
	return m.kind != kindAsk && m.kind != kindAnswer || m.to == by
}

func (k *simBroker) put(to *simSession, m *simMessage) {
	if len(to.queue) >= k.bound {
		k.w.sums.Dropped++
		return
	}
	to.queue = append(to.queue, m)
}

// next takes a message for a board out of its queue, or doubles it.
func (s *simSession) next(w *simWorld) *simMessage {
	i := 0
	if !w.plain && w.one(4) { // overtake
		for j := 1; j < min(len(s.queue), 8); j++ {
			if s.queue[j].topic != s.queue[0].topic {
				i = j
				break
			}
		}
	}
	m := s.queue[i]
	w.sums.Passed++
	w.sums.Bytes += len(m.topic) + len(m.payload) + packetSize
	if w.plain || !w.one(10) {
		s.queue = slices.Delete(s.queue, i, i+1)
	}
	return m
}

// connect is the begin of a connection, with subscriptions.
func (k *simBroker) connect(b *simBoard) {
	s := b.session
	if !s.will.IsZero() {
		s.will = time.Time{}
		k.publishWill(s)
	}
	if b.begins || !k.w.plain && k.w.one(10) {
		s.queue = nil // a clean start, or the session has expired
	}
	b.begins = false
	s.connected, s.kept = true, true
	var topics []string
	for t, m := range k.retained {
		if m.to != b.name { // no local
			topics = append(topics, t)
		}
	}
	slices.Sort(topics)
	for _, t := range topics {
		s.queue = append(s.queue, k.retained[t]) // of no bound: mosquitto has it in its store
	}
}

// lost is the end of a connection that the board did not end: the will is to come.
func (k *simBroker) lost(s *simSession) {
	if s.connected {
		s.connected = false
		s.will = k.w.now.Add(time.Duration(1+k.w.rng.IntN(20)) * time.Second)
	}
}

func (k *simBroker) publishWill(s *simSession) {
	k.take(s.of, Send{Topic: BoardTopic(s.of.name), Payload: []byte(Offline), Retain: true})
}

// wills publishes what is due.
func (k *simBroker) wills() {
	for _, s := range k.sessions {
		if k.on && !s.will.IsZero() && !k.w.now.Before(s.will) {
			s.will = time.Time{}
			k.publishWill(s)
		}
	}
}

// kill ends the broker, in which case no will is published.
func (k *simBroker) kill(remembers bool) {
	if !k.on {
		return
	}
	k.w.sums.Kills++
	k.w.note("broker killed, remembers %v", remembers)
	k.on = false
	for _, s := range k.sessions {
		s.connected, s.will = false, time.Time{}
		if !remembers {
			s.kept, s.queue = false, nil
		}
		s.of.down()
	}
	if !remembers {
		clear(k.retained)
	}
}

func (k *simBroker) start() {
	if !k.on {
		k.w.note("broker started")
		k.on = true
	}
}
