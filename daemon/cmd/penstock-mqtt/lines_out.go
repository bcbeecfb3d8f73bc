// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"log/slog"
	"strings"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/control"
)

// From the daemon to the broker:
//
//	Join ─► ours? ─► rate ─► topic, payload ─► spool
//	         │ yes     │ too many
//	         ▼         ▼
//	      nothing    counted
//
// What we have published to the service comes back by Join, with the tag that we gave it:
// it is not sent to the broker again. Each message says in a property which board it is
// from, so that a board knows its own when brokers that are bridged bring them back.

const (
	// tagPrefix is what the tags of our publications begin with.
	tagPrefix = "mqtt:"
	// boardProperty is the property that has the board's name.
	boardProperty = "penstock-board"
	// rateMost is how many messages of a service are sent in a second, over time, and
	// rateBurst how many at once. What is above it is a loop or a mistake: no serial line
	// has that many.
	rateMost  = 1000
	rateBurst = 5000

	reasonRate = "too many in a second"
)

// A payload is a message as payload = "json" has it.
type payload struct {
	Board   string  `json:"board,omitempty"`
	Service string  `json:"service,omitempty"`
	Number  uint64  `json:"number,omitempty"`
	Peer    string  `json:"peer,omitempty"`
	Name    string  `json:"name,omitempty"`
	Data    *string `json:"data,omitempty"`
	Base64  []byte  `json:"base64,omitempty"`
}

// A publisher has the messages of a service published.
type publisher struct {
	service *config.Service
	board   string
	topic   string // with what each message has its own value for
	broker  *broker
	rate    bucket
}

func newPublisher(s *config.Service, b *broker) *publisher {
	board := b.conf.BoardName()
	return &publisher{
		service: s, board: board, topic: s.Topic(s.MQTT.Publish, board), broker: b,
		rate: bucket{most: rateBurst, rate: rateMost, level: rateBurst},
	}
}

// took is called with what the service has said.
func (p *publisher) took(j control.Joined) {
	dropped := 0
	for i := range j.Messages {
		m := &j.Messages[i]
		if m.Number == 0 || strings.HasPrefix(m.Tag, tagPrefix) {
			continue
		}
		if !p.rate.take(time.Now()) {
			dropped++
			continue
		}
		if err := p.broker.publish(p.message(m)); err != nil {
			p.broker.few.warn("message not published", slog.String("service", p.service.Name), slog.String("reason", err.Error()))
		}
	}
	if dropped > 0 {
		p.broker.few.count("message not published", dropped, slog.String("service", p.service.Name), slog.String("reason", reasonRate))
	}
}

// message returns what is published.
func (p *publisher) message(m *control.Message) *paho.Publish {
	peer := ""
	if m.Peer != nil {
		peer = m.Peer.String()
	}
	text := m.Bytes()
	if p.service.MQTT.Payload == config.PayloadJSON {
		text, _ = json.Marshal(payload{ // nothing in it can fail
			p.board, p.service.Name, m.Number, peer, m.Name, m.Data, m.Base64,
		})
	}
	return &paho.Publish{
		Topic: place(p.topic, peer, m.Name), Payload: text, QoS: byte(p.service.MQTT.QoS),
		// Retained, an empty one would remove what is there.
		Retain:     p.service.MQTT.Retain && len(text) > 0,
		Properties: &paho.PublishProperties{User: paho.UserProperties{{Key: boardProperty, Value: p.board}}},
	}
}

// place fills in what a topic has of the peer and the name. Both are chosen by a stranger,
// and become one level each.
func place(topic, peer, name string) string {
	if strings.IndexByte(topic, '{') < 0 {
		return topic
	}
	return strings.NewReplacer(config.PlacePeer, level(peer), config.PlaceName, level(name)).Replace(topic)
}

// level makes a text one level of a topic.
func level(s string) string {
	s = strings.NewReplacer("/", "_", "+", "_", "#", "_", "\x00", "_").Replace(clean(s))
	if s == "" {
		return "_"
	}
	if s[0] == '$' { // the first level of the broker's own topics
		return "_" + s[1:]
	}
	return s
}

// A bucket bounds a rate.
type bucket struct {
	most, rate float64 // messages at once, and in a second
	level      float64
	at         time.Time
}

// take reports whether one more may pass.
func (b *bucket) take(now time.Time) bool {
	if !b.at.IsZero() {
		b.level = min(b.most, b.level+b.rate*now.Sub(b.at).Seconds())
	}
	b.at = now
	if b.level < 1 {
		return false
	}
	b.level--
	return true
}
