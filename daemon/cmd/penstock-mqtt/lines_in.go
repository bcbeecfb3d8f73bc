// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/control"
)

// From the broker to the daemon:
//
//	broker ─► ours? ─► queue of the service ─► Publish ─► room, device
//	           │ yes    │ full, too long        │ refused
//	           ▼        ▼                       ▼
//	        counted   counted                 counted
//
// The broker gets its answer as soon as a message is in the queue, so that a device that
// is slow or away holds up no other service. So what is in the queue when the process ends
// is lost, and counted, unless it is killed. To answer behind the device was the alternative: then one line that
// hangs has the broker stop sending for all of them, since it waits for 32 answers at most.

const (
	// inCount and inBytes are how much waits for one service.
	inCount = 256
	inBytes = 256 << 10
	// callHead is what a call has beside its parameters, at most.
	callHead = 256
)

// Reasons for which a message is not passed on, beside those of the daemon.
const (
	reasonOwn      = "from this board"
	reasonFull     = "too many wait"
	reasonTooLong  = "too long"
	reasonNotJSON  = "no JSON as payload = \"json\" has it"
	reasonLines    = "more than one line"
	reasonUnsure   = "no answer from the daemon"
	reasonEnds     = "the program ends"
	reasonTopic    = "the topic is not ours"
	messageRefused = "message not taken"
)

// A taker passes on what comes for a service.
type taker struct {
	service *config.Service
	topic   string
	board   string
	door    *door
	queue   chan incoming

	mu    sync.Mutex // guards the following
	bytes int        // in the queue
}

// An incoming is a message that waits.
type incoming struct {
	text []byte
	name string
	tag  string
	sure bool // QoS 1: rather twice than not at all
}

func newTaker(s *config.Service, board string, d *door) *taker {
	return &taker{service: s, topic: s.Topic(s.MQTT.Subscribe, board), board: board, door: d, queue: make(chan incoming, inCount)}
}

// filter returns what is subscribed to.
func (t *taker) filter() filter { return filter{topic: t.topic, qos: byte(t.service.MQTT.QoS)} }

// take is called with each message of the topic.
func (t *taker) take(p *paho.Publish) {
	if p.Properties != nil && p.Properties.User.Get(boardProperty) == t.board {
		t.refuse(reasonOwn)
		return
	}
	m, reason := t.parse(p)
	if reason != "" {
		t.refuse(reason)
		return
	}
	t.mu.Lock()
	fits := t.bytes+len(m.text) <= inBytes
	if fits {
		t.bytes += len(m.text)
	}
	t.mu.Unlock()
	if fits {
		select {
		case t.queue <- m:
			return
		default:
			t.left(m)
		}
	}
	t.refuse(reasonFull)
}

// left is called when a message is not in the queue any more.
func (t *taker) left(m incoming) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bytes -= len(m.text)
}

// parse returns the line of a message. The end of a line, as a shell puts it behind one,
// is no part of it.
func (t *taker) parse(p *paho.Publish) (m incoming, reason string) {
	m = incoming{text: p.Payload, tag: tag(p.Topic), sure: p.QoS == 1}
	if t.service.MQTT.Payload == config.PayloadJSON {
		var in payload
		if err := json.Unmarshal(p.Payload, &in); err != nil || in.Data == nil && in.Base64 == nil {
			return m, reasonNotJSON
		}
		if m.text, m.name = in.Base64, in.Name; in.Data != nil {
			m.text = []byte(*in.Data)
		}
	}
	m.text = bytes.TrimSuffix(bytes.TrimSuffix(m.text, []byte("\n")), []byte("\r"))
	switch {
	case len(m.text) > control.LongestCall:
		return m, reasonTooLong
	case t.service.Kind == config.KindRoom && bytes.ContainsAny(m.text, "\r\n"):
		return m, reasonLines
	}
	return m, ""
}

// longestTag is the most bytes that the daemon takes of a tag.
const longestTag = 64

// tag returns what marks a message as ours.
func tag(topic string) string {
	s := tagPrefix + topic
	return strings.ToValidUTF8(s[:min(len(s), longestTag)], "")
}

// refuse counts a message that is not passed on.
func (t *taker) refuse(reason string) {
	t.door.few.warn(messageRefused, slog.String("service", t.service.Name), slog.String("reason", reason))
}

// run passes messages on until ctx ends.
func (t *taker) run(ctx context.Context) {
	var c *control.Client
	defer func() {
		if c != nil {
			_ = c.Close()
		}
	}()
	for {
		var m incoming
		select {
		case <-ctx.Done():
			if n := len(t.queue); n > 0 {
				t.door.few.count(messageRefused, n, slog.String("service", t.service.Name), slog.String("reason", reasonEnds))
			}
			return
		case m = <-t.queue:
		}
		c = t.pass(ctx, c, m)
		t.left(m)
	}
}

// pass passes a message on, over a connection that it may have to open. It returns the
// one that can be used further; nil: none.
func (t *taker) pass(ctx context.Context, c *control.Client, m incoming) *control.Client {
	in := control.Publication{Service: t.service.Name, Name: m.name, Tag: m.tag}
	in.Data, in.Base64 = control.Text(m.text)
	if b, err := json.Marshal(in); err != nil || len(b) > control.LongestCall-callHead {
		t.refuse(reasonTooLong)
		return c
	}
	for pause := redialFirst; ctx.Err() == nil; pause = min(2*pause, redialMost) {
		err := error(nil)
		if c == nil {
			c, err = t.door.dial()
		}
		if err == nil {
			err = publish(ctx, c, in)
			e, answered := errors.AsType[*control.Error](err)
			switch {
			case err == nil:
				return c
			case answered && !e.Is(control.ErrStopping):
				t.refuse(why(e))
				return c
			}
			_ = c.Close()
			c = nil
			if !answered && !m.sure {
				t.refuse(reasonUnsure)
				return nil
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	t.refuse(reasonEnds)
	return c
}

// why returns what the daemon has against a message.
func why(e *control.Error) string {
	if reason, ok := control.Reason(e); ok {
		return reason
	}
	if s := e.Error(); s == control.InvalidParameter("data").Error() || s == control.InvalidParameter("base64").Error() {
		return reasonLines
	}
	return e.Error()
}
