// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"

	"penstock/daemon/internal/config"
)

// The life of the connection, most of which is the library's:
//
//	     ┌──────────────(back-off)──────────────┐
//	     ▼                                      │
//	connecting ─► refused: named once ──────────┤
//	     │                                      │
//	     └─► up: "online", subscriptions, spool │
//	          │                                 │
//	          ├─► lost: will "offline" ─────────┘
//	          └─► end: "offline", the rest to disk

const (
	// keepAlive is the time after which a silent broker is asked whether it is there, in
	// seconds. It has as long to answer. The broker has us dead after half as long again.
	keepAlive = 20
	// connectTime is how long a connection may take, the broker's answer included.
	connectTime = 10 * time.Second
	// sessionTime is how long the broker keeps what comes while we are away, in seconds.
	sessionTime = 3600
	// receiveMost is how many messages the broker may send before we have answered. With
	// longestPacket that is 4 MiB.
	receiveMost = 32
	// packetTime is how long the broker may take for an answer.
	packetTime = 10 * time.Second
	// steady is how long a connection has to hold for the next to be tried at once.
	steady = 10 * time.Second
	// mostWait is the longest pause between two attempts.
	mostWait = time.Minute
	// goodbye is how long the end may take for what is under way, and for the farewell.
	goodbye = 3 * time.Second
)

// What a board says of itself, retained.
const (
	online  = "online"
	offline = "offline"
)

// A broker is the connection to one.
type broker struct {
	conf    *config.MQTT
	secrets secrets
	log     *slog.Logger
	few     *limited
	spool   *spool
	session *session

	take func(*paho.Publish)       // gets what comes, one after the other; must not block
	up   func()                    // called when there is a connection, and all is subscribed to
	down func()                    // called when it is gone
	tell func(state string)        // gets what is shown of the connection
	keep uint16                    // keepAlive, but for tests
	wait func(n int) time.Duration // between attempts, but for tests

	manager *autopaho.ConnectionManager
	limits  atomic.Pointer[limits]
	failed  atomic.Int32 // connections that did not hold, one after the other

	forgetting atomic.Bool   // a subscription is being ended
	denying    sync.Mutex    // held by the one that denies
	denials    chan struct{} // holds one, if somebody waits for denying

	order sync.Mutex // held while up and down are called, so that they come as things are

	mu      sync.Mutex    // guards the following
	filters []filter      // what is subscribed to
	since   time.Time     // when the connection came up; zero: it is down
	turn    int           // counts the connections
	why     string        // the last reason that was named
	held    time.Duration // how long the last connection was up
}

// limits are what the broker takes.
type limits struct {
	packet uint32 // bytes; 0: any
	qos    byte
	retain bool
}

// A filter is a subscription.
type filter struct {
	topic    string
	qos      byte
	retained bool // what is retained is wanted at each connection, and not at the first alone
}

// statusTopic is where a board says whether it is there.
func statusTopic(board string) string { return "penstock/board/" + board }

func newBroker(conf *config.MQTT, s secrets, log *slog.Logger, sp *spool) *broker {
	b := &broker{
		conf: conf, secrets: s, log: log, few: &limited{log: log}, spool: sp, keep: keepAlive, denials: make(chan struct{}, 1),
		take: func(*paho.Publish) {}, up: func() {}, down: func() {}, tell: func(string) {},
	}
	b.wait = b.backOff
	b.session = newSession(sp, b.refusedOne)
	b.limits.Store(&limits{qos: 2, retain: true})
	sp.fit = b.fit
	return b
}

// start begins to connect. The filters are set before.
func (b *broker) start(ctx context.Context) error {
	zero := uint32(0)
	server, err := url.Parse("mqtt://broker") // dial knows where it is
	if err != nil {
		return err
	}
	b.manager, err = autopaho.NewConnection(ctx, autopaho.ClientConfig{
		ServerUrls:            []*url.URL{server},
		KeepAlive:             b.keep,
		SessionExpiryInterval: sessionTime,
		ConnectTimeout:        connectTime,
		ReconnectBackoff:      func(n int) time.Duration { return b.wait(n) },
		Queue:                 b.spool,
		AttemptConnection:     b.dial,
		ConnectUsername:       b.conf.User,
		ConnectPassword:       b.secrets.password,
		ConnectPacketBuilder:  bounded,
		WillMessage:           &paho.WillMessage{Topic: statusTopic(b.conf.BoardName()), Payload: []byte(offline), QoS: 1, Retain: true},
		WillProperties:        &paho.WillProperties{WillDelayInterval: &zero},
		OnConnectionUp:        b.cameUp,
		OnConnectionDown:      b.wentDown,
		OnConnectError:        b.notConnected,
		ClientConfig: paho.ClientConfig{
			ClientID:      "penstock-" + b.conf.BoardName(),
			Session:       b.session,
			PacketTimeout: packetTime,
			OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(r paho.PublishReceived) (bool, error) {
				b.take(r.Packet)
				return true, nil
			}},
			OnServerDisconnect: b.sentAway,
			OnClientError:      b.lost,
		},
	})
	return err
}

// bounded says in the first packet how much may come.
func bounded(c *paho.Connect, _ *url.URL) (*paho.Connect, error) {
	receive, size := uint16(receiveMost), uint32(longestPacket)
	if c.Properties == nil {
		c.Properties = &paho.ConnectProperties{}
	}
	c.Properties.ReceiveMaximum, c.Properties.MaximumPacketSize = &receive, &size
	return c, nil
}

// backOff returns the pause before the attempt with this number. A part of it is chance: a
// thousand boards must not come at once when their broker is back.
func (b *broker) backOff(n int) time.Duration {
	n += int(b.failed.Load())
	if n == 0 {
		return rand.N(time.Second / 2)
	}
	most := min(time.Second<<min(n-1, 10), mostWait)
	return most/2 + rand.N(most/2)
}

// cameUp is called for each connection, and must not block.
func (b *broker) cameUp(_ *autopaho.ConnectionManager, ack *paho.Connack) {
	l := &limits{qos: 2, retain: true}
	if p := ack.Properties; p != nil {
		l.retain = p.RetainAvailable
		if p.MaximumQoS != nil {
			l.qos = *p.MaximumQoS
		}
		if p.MaximumPacketSize != nil {
			l.packet = *p.MaximumPacketSize
		}
	}
	b.limits.Store(l)
	b.mu.Lock()
	b.since, b.why = time.Now(), ""
	b.turn++
	turn := b.turn
	b.mu.Unlock()
	b.log.Info("connected to the broker", slog.String("broker", b.name()), slog.Bool("session", ack.SessionPresent))
	b.tell("connected to " + b.name())
	go b.greet(turn)
}

// name returns the broker as the file has it.
func (b *broker) name() string {
	switch a := b.conf.Broker; {
	case a.Network == "unix":
		return "unix:" + a.Text
	case a.TLS:
		return "mqtts://" + a.Text
	default:
		return "mqtt://" + a.Text
	}
}

// greet says that we are there, and subscribes.
func (b *broker) greet(turn int) {
	b.announce(online)
	b.mu.Lock()
	filters := b.filters
	b.mu.Unlock()
	for _, f := range filters {
		for !b.subscribe(f) {
			if !b.still(turn, packetTime/2) {
				return
			}
		}
	}
	b.order.Lock()
	defer b.order.Unlock()
	if b.still(turn, 0) {
		b.up()
	}
}

// still waits, and reports whether the connection is the same then.
func (b *broker) still(turn int, wait time.Duration) bool {
	select {
	case <-b.manager.Done():
		return false
	case <-time.After(wait):
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.since.IsZero() && b.turn == turn
}

// subscribe reports whether there is an answer, and names a refusal.
func (b *broker) subscribe(f filter) bool {
	handling := byte(1) // of retained messages: only where the subscription is new
	if f.retained {
		handling = 0
	}
	ctx, cancel := context.WithTimeout(context.Background(), packetTime)
	defer cancel()
	ack, err := b.manager.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{
		{Topic: f.topic, QoS: f.qos, NoLocal: true, RetainHandling: handling},
	}})
	if err == nil {
		return true
	}
	if ack == nil || len(ack.Reasons) == 0 {
		return false
	}
	b.log.Warn("subscription refused by the broker", slog.String("topic", f.topic), slog.Int("code", int(ack.Reasons[0])))
	return true
}

// announce says whether this board is there.
func (b *broker) announce(state string) {
	ctx, cancel := context.WithTimeout(context.Background(), goodbye)
	defer cancel()
	_, err := b.manager.Publish(ctx, &paho.Publish{
		Topic: statusTopic(b.conf.BoardName()), Payload: []byte(state), QoS: 1, Retain: b.limits.Load().retain,
	})
	if err != nil {
		b.few.warn("state of the board not published", slog.Any("err", err))
	}
}

// wentDown is called when the connection is gone.
func (b *broker) wentDown() bool {
	b.order.Lock()
	defer b.order.Unlock()
	b.mu.Lock()
	b.held = time.Since(b.since)
	held := b.held
	b.since = time.Time{}
	why := b.why
	b.mu.Unlock()
	if held < steady {
		b.failed.Add(1)
	} else {
		b.failed.Store(0)
	}
	if why == "" {
		why = "the connection is lost"
	}
	b.spool.disconnected()
	b.down()
	b.tell("not connected: " + why)
	return true
}

// sentAway is called when the broker ends the connection, and says why.
func (b *broker) sentAway(d *paho.Disconnect) {
	why, known := refusals[d.ReasonCode]
	if !known {
		why = "the broker ends the connection"
	}
	if d.Properties != nil && d.Properties.ReasonString != "" {
		why += " (" + clean(d.Properties.ReasonString) + ")"
	}
	b.named(why)
}

// lost is called when the connection breaks, before or after wentDown. Brokers give a name
// to the last that has come with it, and not all say so to the one before: each of two
// boards has a connection then that ends soon.
func (b *broker) lost(err error) {
	why := explainLoss(err)
	b.mu.Lock()
	held := b.held
	if !b.since.IsZero() {
		held = time.Since(b.since)
	}
	b.mu.Unlock()
	if closed(err) && held < steady {
		why += ", soon after it was there: does another board have the same name? see board in [mqtt]"
	}
	b.named(why)
}

// named writes a reason, but not the same again and again.
func (b *broker) named(why string) {
	b.mu.Lock()
	again := b.why == why
	b.why = why
	b.mu.Unlock()
	if !again {
		b.few.warn("connection to the broker lost", slog.String("broker", b.name()), slog.String("reason", why))
	}
}

// notConnected is called for each attempt in vain.
func (b *broker) notConnected(err error) {
	why := explain(err)
	b.mu.Lock()
	again := b.why == why
	b.why = why
	b.mu.Unlock()
	if !again {
		b.log.Warn("broker not reached, it is tried again", slog.String("broker", b.name()), slog.String("reason", why))
		b.tell("not connected: " + why)
	}
}

// refusedOne is called when the broker refuses a message.
func (b *broker) refusedOne(topic string, code byte) {
	b.few.warn("message refused by the broker", slog.String("topic", clean(topic)), slog.Int("code", int(code)))
}

// isUp reports whether there is a connection.
func (b *broker) isUp() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.since.IsZero()
}

// stop says farewell, and keeps what was not sent.
func (b *broker) stop() {
	if b.isUp() {
		for until := time.Now().Add(goodbye); b.waiting() && b.isUp() && time.Now().Before(until); {
			time.Sleep(10 * time.Millisecond)
		}
		b.announce(offline)
	}
	ctx, cancel := context.WithTimeout(context.Background(), goodbye)
	defer cancel()
	_ = b.manager.Disconnect(ctx) // it ends with us at the latest
	if err := b.session.store.Reset(); err != nil {
		b.log.Warn("messages under way not kept", slog.Any("err", err))
	}
	b.spool.save(false)
}

// waiting reports whether there is something that the broker has not taken.
func (b *broker) waiting() bool { return b.spool.size() > 0 || b.spool.flight.count.Load() > 0 }
