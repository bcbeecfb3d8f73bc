// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/control"
)

// TestLines: what services say goes to topics, with what the file asks for, and what was
// published to them does not go back. What topics say goes to services.
func TestLines(t *testing.T) {
	r := newRig(t, services)
	r.start(t)
	until(t, "Join", r.joined("lobby"))
	until(t, "Join", r.joined("meter"))
	r.subscribed(t, "chat/in")
	r.subscribed(t, "sensors/meter/set")
	own, text := line("not again"), "hello"
	own.Tag = "mqtt:chat/in"
	r.daemon.says("lobby", own)
	r.daemon.says("lobby", control.Message{Origin: "join", Name: "a/b#"})
	r.daemon.says("lobby", control.Message{Name: "a/b#", Data: &text})
	p := next(t, "a line", r.broker.seen)
	for strings.HasPrefix(p.Topic, "penstock/") || strings.HasPrefix(p.Topic, discoveryPrefix) {
		p = next(t, "a line", r.broker.seen)
	}
	if p.Topic != "chat/here/a_b_" || string(p.Payload) != "hello" || p.QoS != 1 || p.Retain || p.Properties.User[0].Value != "here" {
		t.Errorf("%s", p)
	}
	r.daemon.says("meter", line("21.5"))
	p = r.sent(t, "sensors/meter")
	if want := `{"board":"here","service":"meter","number":1,"data":"21.5"}`; string(p.Payload) != want || !p.Retain {
		t.Errorf("%s, want %s", p, want)
	}

	say := func(topic, text string, user ...packets.User) {
		r.broker.publish(nil, &packets.Publish{Topic: topic, Payload: []byte(text), Properties: &packets.Properties{User: user}})
	}
	say("chat/in", "hi\r\n")
	if got := next(t, "Publish", r.daemon.published); got.Service != "lobby" || *got.Data != "hi" || got.Tag != "mqtt:chat/in" {
		t.Errorf("%+v", got)
	}
	say("chat/in", "two\nlines")
	say("chat/in", "own", packets.User{Key: boardProperty, Value: "here"})
	say("sensors/meter/set", "no JSON")
	say("sensors/meter/set", strings.Repeat("x", 70_000))
	say("sensors/meter/set", `{"data":"on"}`)
	if got := next(t, "Publish", r.daemon.published); got.Service != "meter" || *got.Data != "on" {
		t.Errorf("%+v", got)
	}
	r.daemon.set(func() { r.daemon.refuse = "nobody may write" })
	say("sensors/meter/set", `{"data":"off"}`)
	for _, reason := range []string{reasonLines, reasonOwn, reasonNotJSON, "nobody may write"} {
		until(t, reason, func() bool { return r.log.count(messageRefused) > 0 && r.log.count("reason="+reason) == 1 })
	}
}

// TestPresence: the board says that it is there, and the broker says when it is not any
// more, by the will or by a farewell. Home Assistant finds the bridge; the state of the
// device follows the daemon.
func TestPresence(t *testing.T) {
	r := newRig(t, services)
	r.start(t)
	status, device, config := "penstock/board/here", "penstock/device/here/meter", "homeassistant/sensor/penstock_here/meter/config"
	until(t, online, func() bool {
		return r.broker.kept(status) == online && r.broker.kept(device) == online && r.broker.kept(config) != ""
	})
	var s map[string]any
	if err := json.Unmarshal([]byte(r.broker.kept(config)), &s); err != nil || s["state_topic"] != "sensors/meter" ||
		s["availability_mode"] != "all" || s["value_template"] != "{{ value_json.data }}" || s["unique_id"] != "penstock_here_meter" {
		t.Errorf("%v, %v", s, err)
	}
	until(t, "Tell", func() bool { return strings.HasPrefix(next(t, "Tell", r.daemon.told), "connected to unix:") })
	until(t, "Watch", func() (on bool) { r.daemon.set(func() { on = len(r.daemon.watches) > 0 }); return on })
	r.daemon.set(func() { r.daemon.source = "lost" })
	r.daemon.records("meter")
	until(t, "the device goes", func() bool { return r.broker.kept(device) == offline })

	r.broker.set(func() { r.broker.connack.ReasonCode = 0x88 })
	r.broker.cut()
	until(t, "the will", func() bool { return r.broker.kept(status) == offline })
	until(t, "a state", func() bool {
		return strings.HasPrefix(next(t, "Tell", r.daemon.told), "not connected: the broker says that it is not available")
	})
	r.broker.set(func() { r.broker.connack.ReasonCode = 0 })
	until(t, online, func() bool { return r.broker.kept(status) == online })
	r.end()
	if r.broker.kept(status) != offline {
		t.Error("no farewell")
	}

	// Without the bridge in the file, the next process removes what is retained of it.
	r.text = shared1
	r.start(t)
	until(t, "the sensor goes", func() bool { return r.broker.kept(config) == "" && r.broker.kept(device) == "" })
	if n := r.log.count("broker not reached"); n != 1 {
		t.Errorf("named %d times", n)
	}
}

// TestBrokerAway: what is said while there is no broker, and what a broker has not answered
// for that comes back without its memory, is published in its order, also over a restart.
func TestBrokerAway(t *testing.T) {
	r := newRig(t, services)
	r.start(t)
	until(t, "Join", r.joined("meter"))
	r.subscribed(t, "chat/in")
	n := 0
	say := func(count int) {
		for range count {
			n++
			r.daemon.says("meter", line(fmt.Sprint(n)))
		}
	}
	say(1)
	r.sent(t, "sensors/meter")
	until(t, "nothing under way", func() bool {
		return r.broker.kept("penstock/device/here/meter") != "" && !r.gate.broker.waiting()
	})
	r.broker.set(func() { r.broker.deaf = true })
	say(5)
	until(t, "messages under way", func() bool { return r.gate.broker.spool.flight.count.Load() == 5 })
	r.broker.kill()
	say(100)
	until(t, "all have come", func() bool { return r.followers[1].cursor().Last == uint64(n) })
	r.end()

	say(10) // while nobody listens
	r.broker.set(func() { r.broker.deaf = false })
	r.broker.listen(t)
	r.start(t)
	for want := 2; want <= n; want++ {
		var got payload
		if err := json.Unmarshal(r.sent(t, "sensors/meter").Payload, &got); err != nil || *got.Data != fmt.Sprint(want) {
			t.Fatalf("%s, %v, want %d", *got.Data, err, want)
		}
	}
}

// TestDaemonAway: after a restart of the daemon the messages go on behind the last one, and
// it is told the state anew.
func TestDaemonAway(t *testing.T) {
	r := newRig(t, services)
	r.start(t)
	until(t, "Join", r.joined("meter"))
	r.daemon.says("meter", line("1"))
	r.sent(t, "sensors/meter")
	until(t, "Tell", func() bool { return strings.HasPrefix(next(t, "Tell", r.daemon.told), "connected") })
	r.daemon.kill()
	r.daemon.says("meter", line("2"))
	r.daemon.listen(t)
	if p := r.sent(t, "sensors/meter"); !strings.Contains(string(p.Payload), `"number":2`) {
		t.Errorf("%s", p)
	}
	if s := next(t, "Tell", r.daemon.told); !strings.HasPrefix(s, "connected") {
		t.Error(s)
	}
}

// TestSharedRoom: a line of another board comes once, under its name, and one that is said
// here goes to the others. Who is there is told to the daemon, and again to the next one.
func TestSharedRoom(t *testing.T) {
	r := newRig(t, shared1)
	r.start(t)
	until(t, "Join", r.joined("lobby"))
	// What is said before a board was ever there stays on it.
	until(t, "the state", func() bool { return r.broker.kept("penstock/room/lobby/board/here") != "" })
	text := "hello"
	r.daemon.says("lobby", control.Message{Origin: "join", Name: "ann"})
	r.daemon.says("lobby", control.Message{Name: "ann", Data: &text})
	p := r.sent(t, "penstock/room/lobby/line/here")
	if !strings.Contains(string(p.Payload), `"name":"ann","text":"hello"`) {
		t.Errorf("%s", p)
	}
	until(t, "names", func() bool { return strings.Contains(r.broker.kept("penstock/room/lobby/board/here"), `"ann"`) })

	other := func(topic, text string, retain bool) {
		r.broker.publish(nil, &packets.Publish{Topic: "penstock/" + topic, Payload: []byte(text), Retain: retain, Properties: &packets.Properties{}})
	}
	other("board/there", online, true)
	other("room/lobby/board/there", `{"series":"ab","last":0,"start":0,"names":["bob"]}`, true)
	if got := next(t, "Present", r.daemon.present); got.Board != "there" || got.Names[0] != "bob" || got.Service != "lobby" {
		t.Errorf("%+v", got)
	}
	for range 2 {
		other("room/lobby/line/there", `{"series":"ab","number":1,"name":"bob","text":"hi"}`, false)
	}
	other("room/lobby/line/there", `{"series":"ab","number":3,"prev":1,"name":"bob","text":"all"}`, false)
	for _, want := range []string{"hi", "all"} {
		got := next(t, "Publish", r.daemon.published)
		if *got.Data != want || got.Name != "bob" || got.Board != "there" || !strings.HasPrefix(got.Tag, "mqtt:") {
			t.Errorf("%+v, want %s", got, want)
		}
	}
	r.daemon.kill()
	r.daemon.listen(t)
	if got := next(t, "Present", r.daemon.present); got.Board != "there" || len(got.Names) != 1 {
		t.Errorf("%+v", got)
	}
}

// TestBadBrokers: each is named once, with what to do, and the lines of the file go on.
func TestBadBrokers(t *testing.T) {
	say := func(b ...byte) func(*playedClient, net.Conn) bool {
		return func(_ *playedClient, c net.Conn) bool {
			_, _ = packets.ReadPacket(c)
			_, _ = c.Write(b)
			return true
		}
	}
	for name, tt := range map[string]struct {
		answer func(*playedClient, net.Conn) bool
		code   byte
		want   string
	}{
		"3.1.1 alone":       {answer: say(0x20, 2, 0, 1), want: "speaks MQTT 3.1.1 only"},
		"3.1.1, in words":   {code: 0x84, want: "does not speak MQTT 5"},
		"password":          {code: 0x86, want: "user or the password"},
		"rights":            {code: 0x87, want: "user and password_file in [mqtt]"},
		"no broker":         {answer: say([]byte("HTTP/1.1 400 Bad Request\r\n")...), want: "closes the connection"},
		"silent and closes": {answer: say(), want: "closes the connection without a word"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, services)
			r.broker.set(func() { r.broker.answer, r.broker.connack.ReasonCode = tt.answer, tt.code })
			r.start(t)
			until(t, tt.want, func() bool { return r.log.count(tt.want) == 1 })
			until(t, "attempts", func() bool {
				return strings.Contains(next(t, "Tell", r.daemon.told), tt.want)
			})
			r.broker.set(func() { r.broker.answer, r.broker.connack.ReasonCode = nil, 0 })
			until(t, online, func() bool { return r.broker.kept("penstock/board/here") == online })
			if n := r.log.count(tt.want); n != 1 {
				t.Errorf("named %d times", n)
			}
		})
	}
}

// TestFloodOfStrange: messages that have us answer the broker have few goroutines at work,
// however many come and however long the broker takes.
func TestFloodOfStrange(t *testing.T) {
	r := newRig(t, shared1)
	r.start(t)
	r.subscribed(t, "penstock/room/lobby/line/+")
	r.broker.set(func() { r.broker.deaf = true })
	before := runtime.NumGoroutine()
	for range 1000 {
		r.gate.take(&paho.Publish{Topic: "of/an/earlier/file"})
		r.gate.take(&paho.Publish{Topic: "penstock/room/gone/line/x"})
		r.gate.take(&paho.Publish{Topic: statusTopic("here"), Payload: []byte(offline)})
	}
	if n := runtime.NumGoroutine() - before; n > 100 {
		t.Errorf("%d goroutines more", n)
	}
}

// TestOldName: a board that has another name now takes back what the broker keeps of the old
// one.
func TestOldName(t *testing.T) {
	r := newRig(t, services)
	r.broker.publish(nil, &packets.Publish{Topic: statusTopic("old"), Payload: []byte(offline), Retain: true, Properties: &packets.Properties{}})
	k := &keeper{folder: r.folder, log: slog.New(r.log)}
	k.save("state", remembered{Retained: []string{statusTopic("old")}})
	r.start(t)
	if p := r.sent(t, statusTopic("old")); len(p.Payload) > 0 || !p.Retain {
		t.Errorf("%s", p)
	}
	until(t, "its own", func() bool { return slices.Contains(r.gate.retainer.topics(), statusTopic("here")) })
}

// TestTwinUnsaid: two boards of one name are asked about also where the broker ends their
// connections without a word.
func TestTwinUnsaid(t *testing.T) {
	r := newRig(t, services)
	r.start(t)
	until(t, "the question", func() bool {
		if r.log.count("does another board have the same name") > 0 {
			return true
		}
		r.subscribed(t, "chat/in")
		r.broker.cut()
		return false
	})
}

// TestRefusedMessages: a message that the broker refuses is counted, and is not sent again.
func TestRefusedMessages(t *testing.T) {
	r := newRig(t, services)
	r.start(t)
	until(t, "Join", r.joined("meter"))
	r.subscribed(t, "chat/in")
	r.broker.set(func() { r.broker.refuse = 0x87 })
	r.daemon.says("meter", line("1"))
	until(t, "the refusal", func() bool {
		return r.log.count("message refused by the broker times=1 topic=sensors/meter code=135") == 1
	})
	until(t, "nothing under way", func() bool { return !r.gate.broker.waiting() })
}

// TestBounds: the broker is told what we take, and who sends more loses the connection.
func TestBounds(t *testing.T) {
	r := newRig(t, services)
	r.start(t)
	r.subscribed(t, "sensors/meter/set")
	r.broker.set(func() {
		c := r.broker.connects[0]
		if *c.Properties.MaximumPacketSize != longestPacket || *c.Properties.ReceiveMaximum != receiveMost || c.Username != "u" || string(c.Password) != "p" || c.CleanStart {
			t.Errorf("%s", c)
		}
		for c := range r.broker.clients {
			_, _ = c.Conn.Write([]byte{0x30, 0xff, 0xff, 0xff, 0x7f}) // a payload of 256 MB
		}
	})
	until(t, "the length", func() bool { return r.log.count("sent a packet of 268435455 bytes") == 1 })
	until(t, "it is back", func() bool { return r.log.count("connected to the broker") >= 2 })
}

// TestOneTopicForTwo: what comes on a topic that two services name goes to both of them,
// also when the broker counts it once.
func TestOneTopicForTwo(t *testing.T) {
	r := newRig(t, `
[service.left]
kind = "room"
listen = ["127.0.0.1:7000"]
mqtt = { subscribe = "all", qos = 2 }
[service.right]
kind = "room"
listen = ["127.0.0.1:7001"]
mqtt = { subscribe = "all", qos = 0 }
`)
	r.start(t)
	r.subscribed(t, "all")
	if f := r.gate.broker.filters; len(f) != 1 || f[0].qos != 2 {
		t.Errorf("subscriptions %+v, want one with QoS 2", f)
	}
	r.broker.publish(nil, &packets.Publish{Topic: "all", Payload: []byte("hi"), Properties: &packets.Properties{}})
	got := map[string]bool{}
	for range 2 {
		got[next(t, "Publish", r.daemon.published).Service] = true
	}
	if !got["left"] || !got["right"] {
		t.Errorf("published to %v, want both", got)
	}
}

// TestExplainTLS: a broker that closes a connection for TLS is not told of as one that may
// want TLS.
func TestExplainTLS(t *testing.T) {
	err := fmt.Errorf("dial: %w", fmt.Errorf("%w: %w", errNoTLS, io.EOF))
	if got := explain(err); !strings.Contains(got, "before there is TLS") {
		t.Error(got)
	}
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if c, err := l.Accept(); err == nil {
			_, _ = c.Read(make([]byte, 4096))
			_ = c.Close()
		}
	}()
	b := newBroker(&config.MQTT{}, secrets{tls: &tls.Config{ServerName: "x", MinVersion: tls.VersionTLS12}}, slog.New(slog.DiscardHandler), newSpool(nil, nil))
	b.conf.Broker.Network, b.conf.Broker.Text = "unix", l.Addr().String()
	_, err = b.dial(t.Context(), autopaho.ClientConfig{}, nil)
	if got := explain(err); !strings.Contains(got, "before there is TLS") {
		t.Error(got)
	}
	<-done
}
