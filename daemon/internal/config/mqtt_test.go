// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"strings"
	"testing"
)

const (
	mqttTable = "[mqtt]\nbroker = 'mqtt://broker.lan'\nboard = 'attic'\n"
	mqttRoom  = "[service.lobby]\nkind='room'\nlisten=['127.0.0.1:7000']\nmqtt = "
)

// TestBroker: where the broker is, with its usual port.
func TestBroker(t *testing.T) {
	for _, tt := range []struct {
		text, network, at string
		tls               bool
	}{
		{"mqtt://broker.lan", Name, "broker.lan:1883", false},
		{"mqtt://broker.lan/", Name, "broker.lan:1883", false},
		{"mqtts://broker.lan:1", Name, "broker.lan:1", true},
		{"mqtts://192.0.2.1", "tcp", "192.0.2.1:8883", true},
		{"mqtt://[2001:db8::1]", "tcp", "[2001:db8::1]:1883", false},
		{"mqtt://[fe80::1]:9%eth0", "tcp", "[fe80::1]:9%eth0", false},
		{"unix:/run/mosquitto.sock", "unix", "/run/mosquitto.sock", false},
	} {
		b, err := parseBroker(tt.text)
		if err != nil || b.Network != tt.network || b.Text != tt.at || b.TLS != tt.tls {
			t.Errorf("%s: %+v, %v", tt.text, b, err)
		}
	}
	for text, want := range map[string]string{
		"":                      "is not a broker",
		"broker.lan":            "is not a broker",
		"broker.lan:1883":       "is not a broker",
		"tcp://broker.lan":      "is not a broker",
		"mqtt:broker.lan":       "is not a broker",
		"mqtt://":               "is not a broker",
		"unix:run/x":            "is not a broker",
		"unix:@x":               "is not a broker",
		"unix:/run/":            "is a directory",
		"mqtt://me:pw@broker":   "holds a user or a password",
		"mqtt://broker:x":       "is not a port",
		"mqtt://0.0.0.0":        "every address of this machine",
		"mqtt://broker.lan/a/b": "neither an address nor the name of a host",
	} {
		if b, err := parseBroker(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v, want %q", text, b, err, want)
		}
	}
}

// TestMQTT: the table, and what a service says of it, in braces or as a table of its own.
func TestMQTT(t *testing.T) {
	for _, text := range []string{
		mqttTable + "ca_file='ca.pem'\n" + strings.Replace(mqttRoom, "'mqtt:", "'mqtts:", 1) + "{ publish = 'a/{service}/{host}/{name}', subscribe = 'in/{host}', qos = 2, payload = 'json' }",
		mqttTable + "ca_file='ca.pem'\n" + strings.TrimSuffix(mqttRoom, "mqtt = ") + "[service.lobby.mqtt]\npublish = 'a/{service}/{host}/{name}'\nsubscribe = 'in/{host}'\nqos = 2\npayload = 'json'\n",
	} {
		c, err := Parse("/etc/p.toml", []byte(strings.Replace(text, "mqtt://", "mqtts://", 1)))
		if err != nil {
			t.Fatal(err)
		}
		s := service(t, c, "lobby")
		if m := c.MQTT; m == nil || m.Broker.Host != "broker.lan" || m.CAFile != "/etc/ca.pem" || m.BoardName() != "attic" {
			t.Errorf("%+v", m)
		}
		if s.MQTT == nil || *s.MQTT != (Topics{Publish: "a/{service}/{host}/{name}", Subscribe: "in/{host}", QoS: 2, Payload: PayloadJSON}) {
			t.Errorf("%+v", s.MQTT)
		}
		if got := s.Topic(s.MQTT.Publish, "attic"); got != "a/lobby/attic/{name}" {
			t.Errorf("the topic is %s", got)
		}
		if !c.AtBoot() {
			t.Error("the daemon waits for a client")
		}
	}
	c, err := Parse("p.toml", []byte(mqttTable+mqttRoom+"{ room = 'lobby' }"))
	if s := service(t, c, "lobby"); err != nil || *s.MQTT != (Topics{QoS: 1, Payload: PayloadLine, Room: "lobby"}) {
		t.Errorf("%+v, %v", s.MQTT, err)
	}
	if c, err := Parse("p.toml", []byte(mqttTable+mqttRoom+"{}")); err != nil || len(c.Warnings) != 1 || c.AtBoot() {
		t.Errorf("an empty table: %v, %v", c.Warnings, err)
	}
	if name := (&MQTT{}).BoardName(); !IsLevel(name) {
		t.Errorf("this machine is %q", name)
	}
}

// TestMQTTMistakes: a mistake in the table takes the table, one in a service the service.
func TestMQTTMistakes(t *testing.T) {
	const echo, ticker = "[service.lobby]\nkind='echo'\nlisten=['@e']\nmqtt=", "[service.lobby]\nkind='ticker'\nlisten=['@e']\nmqtt="
	const bridge = "[service.lobby]\nkind='bridge'\ndevice='/dev/x'\nlisten=['@e']\nmqtt="
	good := mqttRoom + "{ publish = 'a' }"
	for _, tt := range []struct{ table, service, want string }{
		{"[mqtt]\n", good, "mqtt.broker: missing"},
		{"[mqtt]\nbroker='mqtt://b'\nboard='a/b'\n", good, `mqtt.board: "a/b" is not a name`},
		{"[mqtt]\nbroker='mqtt://b'\nboard='" + strings.Repeat("a", 33) + "'\n", good, "mqtt.board: "},
		{"[mqtt]\nbroker='mqtt://b'\nca_file='x'\n", good, "mqtt.ca_file: is for TLS"},
		{"[mqtt]\nbroker='mqtts://b'\ncert_file='x'\n", good, "mqtt.cert_file: a certificate and its key"},
		{"[mqtt]\nbrokr='mqtt://b'\n", good, `mqtt.brokr: unknown key, did you mean "broker"?`},
		{"", good, "service.lobby.mqtt: there is no table [mqtt]"},
		{mqttTable, echo + "{ publish = 'a' }", `service.lobby.mqtt: is a key of kind "ticker", "room", "bridge", "tail", and this is of kind "echo"`},
		{mqttTable, ticker + "{ publish = 'a', subscribe = 'b' }", "subscribe: kind ticker takes no messages"},
		{mqttTable, ticker + "{ publish = 'a/{name}' }", "publish: {peer} and {name} are only for kind room"},
		{mqttTable, ticker + "{ room = 'a' }", "room: is only for kind room"},
		{mqttTable, bridge + "{ subscribe = 'a' }", "subscribe: nobody may write"},
		{mqttTable, mqttRoom + "'a'", "service.lobby.mqtt: is a string, want a table"},
		{mqttTable, mqttRoom + "{ qos = 1 }", "service.lobby.mqtt: does nothing"},
		{mqttTable, mqttRoom + "{ publish = '' }", "publish: is empty"},
		{mqttTable, mqttRoom + "{ publish = 'a/#' }", "publish: holds + or #"},
		{mqttTable, mqttRoom + "{ subscribe = 'a/+' }", "subscribe: holds + or #"},
		{mqttTable, mqttRoom + "{ subscribe = '$SYS/x' }", "subscribe: begins with $"},
		{mqttTable, mqttRoom + "{ publish = 'penstock/room/x' }", "publish: penstock/ is where boards talk"},
		{mqttTable, mqttRoom + "{ publish = \"a\\u0000\" }", "publish: holds a control character"},
		{mqttTable, mqttRoom + "{ publish = '" + strings.Repeat("a", 65536) + "' }", "publish: has 65536 bytes"},
		{mqttTable, mqttRoom + "{ publish = 'a/{nmae}' }", "publish: {nmae} is not one of"},
		{mqttTable, mqttRoom + "{ subscribe = 'a/{name}' }", "subscribe: {name} is not one of"},
		{mqttTable, mqttRoom + "{ publish = 'a', qos = 3 }", "qos: 3 is not in 0..2"},
		{mqttTable, mqttRoom + "{ publish = 'a', payload = 'xml' }", `payload: "xml" is not one of`},
		{mqttTable, mqttRoom + "{ publsh = 'a' }", "publsh: unknown key"},
		{mqttTable, mqttRoom + "{ room = 'a b' }", `room: "a b" is not a name`},
		{mqttTable, mqttRoom + "{ room = 'a', publish = 'b' }", "room: has topics of its own"},
		{mqttTable, mqttRoom + "{ room = 'a' }\n[service.m]\nkind='room'\nlisten=['@m']\nmqtt={ room = 'a' }", "service.m.mqtt: room: service.lobby is this room already"},
		{mqttTable, mqttRoom + "{ publish = 'a', subscribe = 'a' }", "subscribe: is where the service publishes itself"},
		{mqttTable, mqttRoom + "{ publish = 'a/{service}/{host}', subscribe = 'a/lobby/attic' }", "subscribe: is where the service publishes itself"},
		{mqttTable, mqttRoom + "{ publish = 'a/x{name}y', subscribe = 'a/xbuby' }", "subscribe: is where the service publishes itself"},
	} {
		c, err := Parse("t.toml", []byte(tt.table+tt.service))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.200s%.200s:\n%.300v, want %s", tt.table, tt.service, err, tt.want)
			continue
		}
		if inTable := strings.HasPrefix(tt.want, "mqtt."); inTable != (c.MQTT == nil && len(c.Services) == 1) && tt.table != "" {
			t.Errorf("%.200s%.200s: %+v and %d services are left", tt.table, tt.service, c.MQTT, len(c.Services))
		}
	}
	for _, service := range []string{
		mqttRoom + "{ publish = 'a/{name}', subscribe = 'a/b/c' }", mqttRoom + "{ publish = 'a/x{name}', subscribe = 'a/in' }",
	} {
		if _, err := Parse("t.toml", []byte(mqttTable+service)); err != nil {
			t.Errorf("%s: %v", service, err)
		}
	}
	long := fmt.Sprintf("{ publish = 'a%s', subscribe = '%s' }", strings.Repeat("{name}", 10000), strings.Repeat("a", 60000))
	if _, err := Parse("t.toml", []byte(mqttTable+mqttRoom+long)); err == nil {
		t.Error("a topic of many names does not meet its own")
	}
}

// TestMQTTLine: a mistake is on the line of its own part.
func TestMQTTLine(t *testing.T) {
	text := mqttTable + strings.TrimSuffix(mqttRoom, "mqtt = ") + "[service.lobby.mqtt]\nqos = 1\npublish = 'a'\nsubscribe = 'a'\nretain = 1\n"
	for _, want := range []string{"t.toml:10: service.lobby.mqtt: subscribe: ", "t.toml:11: service.lobby.mqtt: retain: "} {
		if _, err := Parse("t.toml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
