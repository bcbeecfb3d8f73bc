// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"github.com/eclipse/paho.golang/paho"

	"penstock/daemon/internal/config"
)

// A bridge has a topic that says whether its device is there, and for Home Assistant one
// that describes a sensor (home-assistant.io, "MQTT Discovery"):
//
//	penstock/device/BOARD/SERVICE                      online, offline
//	homeassistant/sensor/penstock_BOARD/SERVICE/config {"state_topic": …}
//
// Both are retained: Home Assistant may start after us. The sensor can be used while the
// board is there and the device is, so "availability" has two topics, of which all count.
// What is not in the file any more is removed by an empty message, as Home Assistant wants
// it; which that are is kept over restarts.

// discoveryPrefix is where Home Assistant looks, unless it is told otherwise.
const discoveryPrefix = "homeassistant"

// A sensor is the description of one, as far as we have something to say.
type sensor struct {
	Name             string         `json:"name"`
	UniqueID         string         `json:"unique_id"`
	StateTopic       string         `json:"state_topic"`
	ValueTemplate    string         `json:"value_template,omitempty"`
	QoS              int            `json:"qos"`
	Availability     []availability `json:"availability"`
	AvailabilityMode string         `json:"availability_mode"`
	Device           device         `json:"device"`
	Origin           origin         `json:"origin"`
}

// An availability is a topic with the payloads "online" and "offline", which are the
// default.
type availability struct {
	Topic string `json:"topic"`
}

// A device is what sensors of one board are shown under.
type device struct {
	Identifiers  []string `json:"identifiers"`
	Name         string   `json:"name"`
	Manufacturer string   `json:"manufacturer"`
	Version      string   `json:"sw_version"`
}

// An origin is the program that has described a sensor.
type origin struct {
	Name    string `json:"name"`
	Version string `json:"sw_version"`
}

// deviceTopic is where a bridge says whether its device is there.
func deviceTopic(board, service string) string { return "penstock/device/" + board + "/" + service }

// sensorTopic is where Home Assistant finds a sensor.
func sensorTopic(board, service string) string {
	return discoveryPrefix + "/sensor/penstock_" + board + "/" + service + "/config"
}

// describe returns the sensor of a bridge.
func describe(s *config.Service, board string) sensor {
	t := ""
	if s.MQTT.Payload == config.PayloadJSON {
		t = "{{ value_json.data }}"
	}
	return sensor{
		Name: s.Name, UniqueID: "penstock_" + board + "_" + s.Name,
		StateTopic: s.Topic(s.MQTT.Publish, board), ValueTemplate: t, QoS: s.MQTT.QoS,
		Availability:     []availability{{statusTopic(board)}, {deviceTopic(board, s.Name)}},
		AvailabilityMode: "all",
		Device:           device{[]string{"penstock_" + board}, board, "penstock", version},
		Origin:           origin{"penstock-mqtt", version},
	}
}

// A retainer has messages retained at the broker, and removes those that nobody wants.
type retainer struct {
	broker *broker
	board  string
	want   map[string][]byte // the descriptions, by topic

	mu  sync.Mutex
	old []string // topics that may be there, sorted
}

func newRetainer(cfg *config.Config, b *broker, old []string) *retainer {
	r := &retainer{broker: b, board: b.conf.BoardName(), want: make(map[string][]byte), old: slices.Sorted(slices.Values(old))}
	r.want[statusTopic(r.board)] = nil // as the connection is
	for _, s := range watched(cfg) {
		r.want[deviceTopic(r.board, s.Name)] = nil // as the device is
		if cfg.MQTT.Discovery {
			text, _ := json.Marshal(describe(s, r.board)) // nothing in it can fail
			r.want[sensorTopic(r.board, s.Name)] = text
		}
	}
	return r
}

// watched returns the bridges that publish.
func watched(cfg *config.Config) (list []*config.Service) {
	for _, s := range cfg.Services {
		if s.Kind == config.KindBridge && s.MQTT != nil && s.MQTT.Publish != "" {
			list = append(list, s)
		}
	}
	return list
}

// names returns the names of services.
func names(list []*config.Service) (all []string) {
	for _, s := range list {
		all = append(all, s.Name)
	}
	return all
}

// publish is called when there is a connection.
func (r *retainer) publish() {
	r.mu.Lock()
	old := r.old
	r.mu.Unlock()
	for _, topic := range old {
		// The file is ours, but it may be of another version.
		own := strings.HasPrefix(topic, statusTopic("")) || strings.HasPrefix(topic, "penstock/device/") || strings.HasPrefix(topic, roomPrefix) || strings.HasPrefix(topic, discoveryPrefix+"/sensor/penstock_")
		if _, wanted := r.want[topic]; !wanted && own {
			r.send(topic, nil)
		}
	}
	var all []string
	for topic, text := range r.want {
		all = append(all, topic)
		if text != nil {
			r.send(topic, text)
		}
	}
	slices.Sort(all)
	r.mu.Lock()
	r.old = all
	r.mu.Unlock()
}

// device is called with the state of a device.
func (r *retainer) device(service string, up bool) {
	state := offline
	if up {
		state = online
	}
	r.send(deviceTopic(r.board, service), []byte(state))
}

func (r *retainer) send(topic string, text []byte) {
	_ = r.broker.publish(&paho.Publish{Topic: topic, Payload: text, QoS: 1, Retain: true}) // it is short
}

// topics returns what is retained.
func (r *retainer) topics() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.old
}
