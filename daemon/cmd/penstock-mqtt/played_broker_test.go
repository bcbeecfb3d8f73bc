// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/eclipse/paho.golang/packets"
)

// A playedBroker is a broker of MQTT 5 in the test, as far as we use one, that can be as
// bad as a test wants.
type playedBroker struct {
	url  string                // as the file has it
	path string                // of its socket; "": it has none
	seen chan *packets.Publish // each message that a client has sent

	mu       sync.Mutex
	listener net.Listener
	clients  map[*playedClient]bool
	retained map[string]*packets.Publish
	connack  *packets.Connack // what CONNECT is answered with
	accepted int
	answer   func(c *playedClient, raw net.Conn) bool // instead of all this; true: done
	deaf     bool                                     // PUBLISH and UNSUBSCRIBE are not answered
	refuse   byte                                     // reason in each PUBACK
	connects []*packets.Connect
	served   sync.WaitGroup
}

type playedClient struct {
	net.Conn
	sync.Mutex
	filters map[string]bool // no local
	will    *packets.Publish
	clean   bool // it has said farewell
}

func playBroker(t *testing.T) *playedBroker {
	t.Helper()
	b := newPlayedBroker()
	b.path = filepath.Join(t.TempDir(), "mqtt")
	b.url = "unix:" + b.path
	b.listen(t)
	t.Cleanup(b.kill)
	return b
}

// playSecureBroker plays one that speaks TLS on a port of loopback.
func playSecureBroker(t *testing.T, conf *tls.Config) *playedBroker {
	t.Helper()
	b := newPlayedBroker()
	l, err := tls.Listen("tcp", "127.0.0.1:0", conf)
	if err != nil {
		t.Fatal(err)
	}
	b.url = "mqtts://" + l.Addr().String()
	b.accept(l)
	t.Cleanup(b.kill)
	return b
}

func newPlayedBroker() *playedBroker {
	return &playedBroker{
		seen:    make(chan *packets.Publish, 10000),
		clients: map[*playedClient]bool{}, retained: map[string]*packets.Publish{}, connack: &packets.Connack{Properties: &packets.Properties{}},
	}
}

func (b *playedBroker) listen(t *testing.T) {
	t.Helper()
	l, err := net.Listen("unix", b.path)
	if err != nil {
		t.Fatal(err)
	}
	b.accept(l)
}

func (b *playedBroker) accept(l net.Listener) {
	b.set(func() { b.listener = l })
	b.served.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b.set(func() { b.accepted++ })
			b.served.Go(func() { b.serve(&playedClient{Conn: c, filters: map[string]bool{}}) })
		}
	})
}

// kill ends the broker as a crash does: nobody is told, and all is forgotten.
func (b *playedBroker) kill() {
	b.mu.Lock()
	_ = b.listener.Close()
	for c := range b.clients {
		c.clean = true // no will
		_ = c.Close()
	}
	b.mu.Unlock()
	b.served.Wait()
}

// set changes how the broker is.
func (b *playedBroker) set(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

// cut breaks the connections, and wills are published.
func (b *playedBroker) cut() {
	b.set(func() {
		for c := range b.clients {
			_ = c.Close()
		}
	})
}

func (b *playedBroker) serve(c *playedClient) {
	b.set(func() { b.clients[c] = true })
	defer func() {
		_ = c.Close()
		b.mu.Lock()
		delete(b.clients, c)
		will := c.will
		if c.clean {
			will = nil
		}
		b.mu.Unlock()
		if will != nil {
			b.publish(nil, will)
		}
	}()
	b.mu.Lock()
	answer := b.answer
	b.mu.Unlock()
	if answer != nil && answer(c, c.Conn) {
		return
	}
	for {
		p, err := packets.ReadPacket(c.Conn)
		if err != nil || !b.got(c, p) {
			return
		}
	}
}

// got answers a packet.
func (b *playedBroker) got(c *playedClient, p *packets.ControlPacket) bool {
	var reply packets.Packet
	switch p := p.Content.(type) {
	case *packets.Connect:
		b.set(func() {
			b.connects = append(b.connects, p)
			ack := *b.connack
			reply = &ack
			if p.WillFlag {
				c.will = &packets.Publish{Topic: p.WillTopic, Payload: p.WillMessage, Retain: p.WillRetain, Properties: &packets.Properties{}}
			}
		})
		_, err := reply.WriteTo(c)
		return err == nil && reply.(*packets.Connack).ReasonCode == 0
	case *packets.Subscribe:
		codes := make([]byte, len(p.Subscriptions))
		b.set(func() {
			for _, s := range p.Subscriptions {
				c.filters[s.Topic] = s.NoLocal
			}
		})
		reply = &packets.Suback{PacketID: p.PacketID, Reasons: codes, Properties: &packets.Properties{}}
		if _, err := reply.WriteTo(c); err != nil {
			return false
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, r := range b.retained {
			for _, s := range p.Subscriptions {
				if matches(s.Topic, r.Topic) {
					kept := *r
					kept.Retain, kept.QoS = true, 0
					_, _ = kept.WriteTo(c)
				}
			}
		}
		return true
	case *packets.Unsubscribe:
		b.mu.Lock()
		deaf := b.deaf
		b.mu.Unlock()
		if deaf {
			return true
		}
		reply = &packets.Unsuback{PacketID: p.PacketID, Reasons: make([]byte, len(p.Topics)), Properties: &packets.Properties{}}
	case *packets.Publish:
		b.mu.Lock()
		deaf, refuse := b.deaf, b.refuse
		b.mu.Unlock()
		if deaf {
			return true
		}
		b.seen <- p
		if refuse == 0 {
			b.publish(c, p)
		}
		if p.QoS == 0 {
			return true
		}
		reply = &packets.Puback{PacketID: p.PacketID, ReasonCode: refuse, Properties: &packets.Properties{}}
	case *packets.Pingreq:
		reply = &packets.Pingresp{}
	case *packets.Disconnect:
		b.set(func() { c.clean = true })
		return false
	default:
		return true
	}
	_, err := reply.WriteTo(c)
	return err == nil
}

// publish sends a message to all who want it.
func (b *playedBroker) publish(from *playedClient, p *packets.Publish) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.Retain {
		b.retained[p.Topic] = p
		if len(p.Payload) == 0 {
			delete(b.retained, p.Topic)
		}
	}
	for c := range b.clients {
		for f, noLocal := range c.filters {
			if matches(f, p.Topic) && (c != from || !noLocal) {
				out := *p
				out.Retain, out.QoS, out.Duplicate = false, 0, false
				_, _ = out.WriteTo(c)
				break
			}
		}
	}
}

func matches(filter, topic string) bool {
	f, t := strings.Split(filter, "/"), strings.Split(topic, "/")
	if len(f) != len(t) {
		return false
	}
	for i := range f {
		if f[i] != "+" && f[i] != t[i] {
			return false
		}
	}
	return true
}

// kept returns what is retained.
func (b *playedBroker) kept(topic string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := b.retained[topic]; p != nil {
		return string(p.Payload)
	}
	return ""
}
