// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"penstock/daemon/internal/config"
)

// patienceOfTests is how long a test waits for what must happen. A machine may be slow.
const patienceOfTests = 30 * time.Second

// A rig is a gate between a played broker and a played daemon.
type rig struct {
	*gate
	broker *playedBroker
	daemon *playedDaemon
	log    *records
	folder string
	text   string
	table  string // more of [mqtt], with the names of files
	end    func() // SIGTERM, and the wait for the end
}

const services = `
[service.lobby]
kind = "room"
listen = ["127.0.0.1:7000"]
mqtt = { publish = "chat/{host}/{name}", subscribe = "chat/in" }
[service.meter]
kind = "bridge"
device = "/dev/ttyUSB0"
listen = ["127.0.0.1:7001"]
write = "any"
mqtt = { publish = "sensors/{service}", subscribe = "sensors/{service}/set", qos = 1, retain = true, payload = "json" }
`

const shared1 = `
[service.lobby]
kind = "room"
listen = ["127.0.0.1:7000"]
mqtt = { room = "lobby" }
`

// newRig makes the parts, and starts none.
func newRig(t *testing.T, text string) *rig {
	t.Helper()
	return &rig{broker: playBroker(t), daemon: playDaemon(t), log: &records{}, folder: t.TempDir(), text: text}
}

// start starts a process.
func (r *rig) start(t *testing.T) {
	t.Helper()
	cfg, err := config.Parse("t.toml", []byte("[mqtt]\nbroker = '"+r.broker.url+"'\nboard = 'here'\nuser = 'u'\ndiscovery = true\n"+r.table+r.text))
	if err != nil {
		t.Fatal(err)
	}
	known := secrets{password: []byte("p")}
	if r.table != "" {
		if known, err = readSecrets(cfg.MQTT); err != nil {
			t.Fatal(err)
		}
	}
	r.gate = assemble(cfg, known, func() string { return r.daemon.path }, r.folder, slog.New(r.log))
	r.gate.broker.wait = func(int) time.Duration { return 10 * time.Millisecond }
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.run(ctx) }()
	r.end = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.end)
}

// records keeps what is logged.
type records struct {
	mu   sync.Mutex
	list []string
}

func (l *records) Enabled(context.Context, slog.Level) bool { return true }
func (l *records) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *records) WithGroup(string) slog.Handler            { return l }
func (l *records) Handle(_ context.Context, r slog.Record) error {
	s := r.Message
	r.Attrs(func(a slog.Attr) bool { s += fmt.Sprintf(" %s=%v", a.Key, a.Value); return true })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, s)
	return nil
}

func (l *records) count(part string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.list {
		if strings.Contains(s, part) {
			n++
		}
	}
	return n
}

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patienceOfTests); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// next returns what comes next.
func next[T any](t *testing.T, what string, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(patienceOfTests):
		t.Fatalf("waited in vain: %s", what)
	}
	return v
}

// sent returns the next message to a topic.
func (r *rig) sent(t *testing.T, topic string) *packets.Publish {
	t.Helper()
	for {
		if p := next(t, topic, r.broker.seen); p.Topic == topic {
			return p
		}
	}
}

func (r *rig) joined(service string) func() bool {
	return func() bool {
		r.daemon.mu.Lock()
		defer r.daemon.mu.Unlock()
		return len(r.daemon.joins[service]) > 0
	}
}

// subscribed waits until a client of the broker has a subscription.
func (r *rig) subscribed(t *testing.T, topic string) {
	t.Helper()
	until(t, "a subscription to "+topic, func() bool {
		r.broker.mu.Lock()
		defer r.broker.mu.Unlock()
		for c := range r.broker.clients {
			if _, ok := c.filters[topic]; ok {
				return true
			}
		}
		return false
	})
}
