// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"penstock/daemon/internal/text"
	"penstock/daemon/internal/toml"
)

// The table [mqtt] and the key "mqtt" of services are for the companion penstock-mqtt, a
// program of its own that reads the same files, as [web] is for penstock-web. The daemon
// itself only runs from the boot on where a service has the key.

// An MQTT is the table [mqtt].
type MQTT struct {
	Broker Broker
	Board  string // "": that of the machine, see BoardName
	User   string

	// Absolute paths, or "". The service manager reads them, and passes them on as the
	// credentials password, ca, cert and key.
	PasswordFile, CAFile, CertFile, KeyFile string

	Discovery bool // tell Home Assistant of the bridges
}

// A Broker is where an MQTT broker listens. The address is that of one place: "tcp",
// "unix" (a path) or [Name].
type Broker struct {
	TLS bool
	Address
}

// Topics is the key "mqtt" of a service: its messages go to a topic and come from one, or
// the room is one with those of other boards.
type Topics struct {
	Publish   string // a template, see Topic; "": nothing is published
	Subscribe string // the same, without {peer} and {name}; "": nothing is taken
	QoS       int
	Retain    bool // of what is published
	Payload   Payload
	Room      string // the room that all boards share; "": this one is of this board alone
}

// Payload says what the messages at the broker are.
type Payload string

// The values of the key "payload".
const (
	PayloadLine Payload = "line" // the line, and nothing else
	PayloadJSON Payload = "json" // an object with the line and what is known of it
)

// Placeholders of topics, beside PlaceName and PlacePeer.
const (
	PlaceService = "{service}"
	PlaceHost    = "{host}"
)

// BoardName returns the name by which other boards know this one: that of the file, or the
// first part of the machine's. It is always a level of a topic.
func (m *MQTT) BoardName() string {
	if m.Board != "" {
		return m.Board
	}
	host, _ := os.Hostname() // "" as well
	host, _, _ = strings.Cut(host, ".")
	name := strings.Map(func(r rune) rune {
		if IsLevel(string(r)) {
			return r
		}
		return '-'
	}, host)
	return cmp.Or(name[:min(len(name), longestLevel)], "board")
}

// Topic fills in what a template of a topic says of the service and of the board. The
// other placeholders are left, since each message has its own for them.
func (s *Service) Topic(template, board string) string {
	return strings.NewReplacer(PlaceService, s.Name, PlaceHost, board).Replace(template)
}

// longestLevel is the most bytes of a name that is a level of a topic.
const longestLevel = 32

// IsLevel reports whether a name can be a level of a topic, whatever reads it.
func IsLevel(s string) bool {
	return s != "" && len(s) <= longestLevel && strings.Trim(s, letters+digits+"_-") == ""
}

var mqttKeys = []key[MQTT]{
	{"broker", into(func(m *MQTT) *Broker { return &m.Broker }, parseBroker)},
	{"board", into(func(m *MQTT) *string { return &m.Board }, maybeLevel)},
	{"user", into(func(m *MQTT) *string { return &m.User }, textUpTo(1024))},
	{"password_file", into(func(m *MQTT) *string { return &m.PasswordFile }, fileName)},
	{"ca_file", into(func(m *MQTT) *string { return &m.CAFile }, fileName)},
	{"cert_file", into(func(m *MQTT) *string { return &m.CertFile }, fileName)},
	{"key_file", into(func(m *MQTT) *string { return &m.KeyFile }, fileName)},
	{"discovery", into(func(m *MQTT) *bool { return &m.Discovery }, flag)},
}

// topicKeys are the keys of the key "mqtt". They are of a Service, so that the code for
// its other keys does for them.
var topicKeys = []key[Service]{
	{"publish", into(func(s *Service) *string { return &s.MQTT.Publish }, topicOf(PlaceService, PlaceHost, PlacePeer, PlaceName))},
	{"subscribe", into(func(s *Service) *string { return &s.MQTT.Subscribe }, topicOf(PlaceService, PlaceHost))},
	{"qos", into(func(s *Service) *int { return &s.MQTT.QoS }, integer(0, 2))},
	{"retain", into(func(s *Service) *bool { return &s.MQTT.Retain }, flag)},
	{"payload", into(func(s *Service) *Payload { return &s.MQTT.Payload }, choice(PayloadLine, PayloadJSON))},
	{"room", into(func(s *Service) *string { return &s.MQTT.Room }, maybeLevel)},
}

// topics is the row of mqtt, which every kind has that says something to all its clients.
var topics = key[Service]{"mqtt", setTopics}

func setTopics(s *Service, v any) error {
	t, ok := v.(*toml.Table)
	if !ok {
		return wrongType(v, `a table such as { publish = "sensors/{service}" }`)
	}
	if s.MQTT = nil; t.Len() == 0 {
		return nil
	}
	s.MQTT = &Topics{QoS: 1, Payload: PayloadLine}
	var errs problems
	for _, one := range t.All() {
		err := errors.New("unknown key")
		for _, k := range topicKeys {
			if k.name == one.Name {
				err = k.set(s, one.Value)
			}
		}
		if _, reported := one.Value.(toml.Invalid); err != nil && !reported {
			errs.add(lineError{one.Line, fmt.Errorf("%s: %w", one.Name, err)})
		}
	}
	return errs.err()
}

// maybeLevel takes a name that is a level of a topic, or none.
func maybeLevel(v any) (string, error) {
	s, err := textUpTo(maxText)(v)
	if err == nil && s != "" && !IsLevel(s) {
		err = fmt.Errorf("%q is not a name of A-Z a-z 0-9 _ -, at most %d of them", s, longestLevel)
	}
	return s, err
}

// longestTopic is in bytes (section 1.5.4 of MQTT 5.0).
const longestTopic = 65535

// topicOf returns a function that takes a topic with these placeholders. What + and # stand
// for cannot be published to, and a service that took such a flood could not say whose
// lines it is given. What begins with $ is the broker's own.
func topicOf(placeholders ...string) func(any) (string, error) {
	return func(v any) (string, error) {
		s, err := textUpTo(longestTopic)(v)
		switch {
		case err != nil:
		case s == "":
			err = errors.New("is empty")
		case strings.ContainsAny(s, "+#"):
			err = errors.New("holds + or #, and a topic is one place")
		case s[0] == '$':
			err = errors.New("begins with $, which is the broker's own")
		case strings.HasPrefix(s, ownTopics):
			err = fmt.Errorf("%s is where boards talk with each other, want another topic", ownTopics)
		case strings.ContainsFunc(s, text.IsControl):
			err = errors.New("holds a control character")
		default:
			err = knownPlaces(s, placeholders)
		}
		return s, err
	}
}

// ownTopics is what topics of penstock-mqtt itself begin with.
const ownTopics = "penstock/"

// parseBroker takes the address of a broker.
func parseBroker(v any) (b Broker, err error) {
	s, ok := v.(string)
	if !ok {
		return b, wrongType(v, `a string such as "mqtt://broker.lan"`)
	}
	scheme, rest, found := strings.Cut(s, ":")
	port := ":1883"
	switch {
	case found && scheme == "unix" && strings.HasPrefix(rest, "/"):
		b.Address, err = parseUnix(rest)
		return b, err
	case scheme == "mqtts":
		b.TLS, port = true, ":8883"
	case scheme != "mqtt":
		found = false
	}
	host, ok := strings.CutPrefix(rest, "//")
	if !found || !ok || host == "" {
		return b, fmt.Errorf(`%q is not a broker, want "mqtt://host", "mqtts://host" or "unix:/path"`, s)
	}
	host = strings.TrimSuffix(host, "/")
	if strings.Contains(host, "@") {
		return b, errors.New("holds a user or a password, want the keys user and password_file")
	}
	if strings.HasSuffix(host, "]") || !strings.Contains(host, ":") {
		host += port
	}
	b.Address, err = parseTarget(host)
	return b, err
}

// withMQTT makes the table of its entries, and checks what services say about it. With a
// mistake in the table, or a text that could have more of it, the caller drops it: half of
// it could reach another broker than the whole.
func (b *builder) withMQTT(c *Config, services []described) {
	d := described{at: map[string]entry{}}
	for _, e := range b.mqtt.entries {
		if c.MQTT == nil {
			c.MQTT = &MQTT{}
		}
		if _, ok := d.at[e.key]; !ok || e.key != "" {
			d.at[e.key] = e
		}
		if e.key != "" {
			setKey(b, mqttKeys, c.MQTT, e)
		}
	}
	if c.MQTT != nil {
		b.checkMQTT(c.MQTT, d)
	}
	used, rooms := false, map[string]string{}
	for _, of := range services {
		if of.MQTT == nil {
			continue
		}
		used = true
		b.checkTopics(of, c.MQTT)
		switch other := rooms[of.MQTT.Room]; {
		case of.MQTT.Room == "":
		case other != "":
			b.wrongTopic(of, "room", fmt.Errorf("service.%s is this room already, and a board is in it once", other))
		default:
			rooms[of.MQTT.Room] = of.Name
		}
	}
	if c.MQTT != nil && !used && !b.mqtt.broken {
		b.warn(d.at[""], errors.New("has no effect: no service has the key mqtt"))
	}
}

func (b *builder) checkMQTT(m *MQTT, d described) {
	if _, ok := d.at["broker"]; !ok {
		b.wrong(d.where("broker"), errors.New(`missing, want an address such as "mqtt://broker.lan"`))
	}
	if (m.CertFile == "") != (m.KeyFile == "") {
		b.wrong(d.where("cert_file"), errors.New("a certificate and its key go together: want cert_file and key_file"))
	}
	for name, file := range map[string]*string{
		"password_file": &m.PasswordFile, "ca_file": &m.CAFile, "cert_file": &m.CertFile, "key_file": &m.KeyFile,
	} {
		if *file == "" {
			continue
		}
		if name != "password_file" && !m.Broker.TLS && m.Broker.Text != "" {
			b.wrong(d.where(name), errors.New("is for TLS, want a broker with mqtts://"))
		}
		if !filepath.IsAbs(*file) {
			*file = filepath.Join(filepath.Dir(d.where(name).file), *file)
		}
	}
	if m.PasswordFile != "" && m.User == "" {
		b.warn(d.where("password_file"), errors.New("most brokers want a user with it, see the key user"))
	}
}

// checkTopics checks the key mqtt of one service. m is nil if there is no table.
func (b *builder) checkTopics(d described, m *MQTT) {
	t := d.MQTT
	room, isRoom := d.Of.(*Room)
	bridge, isBridge := d.Of.(*Bridge)
	if len(b.mqtt.entries) == 0 && !b.mqtt.broken {
		b.wrong(d.where("mqtt"), errors.New(`there is no table [mqtt], which says where the broker is`))
	}
	switch {
	case t.Room != "" && !isRoom:
		b.wrongTopic(d, "room", errors.New("is only for kind room"))
	case t.Room != "" && t.Publish+t.Subscribe != "":
		b.wrongTopic(d, "room", errors.New("has topics of its own, and takes neither publish nor subscribe"))
	case t.Room != "" && len(room.Message) == 0:
		b.wrongTopic(d, "room", errors.New("nobody speaks in it: message is empty"))
	case t.Room+t.Publish+t.Subscribe == "" && !b.broken[d.Name]:
		b.wrong(d.where("mqtt"), errors.New("does nothing, want publish, subscribe or room"))
	}
	switch {
	case t.Subscribe == "" || isRoom:
	case !isBridge:
		b.wrongTopic(d, "subscribe", fmt.Errorf("kind %s takes no messages", d.Kind))
	case bridge.Write == WriteNone:
		b.wrongTopic(d, "subscribe", errors.New(`nobody may write, want write = "any" or another`))
	}
	if !isRoom && (strings.Contains(t.Publish, PlacePeer) || strings.Contains(t.Publish, PlaceName)) {
		b.wrongTopic(d, "publish", fmt.Errorf("%s and %s are only for kind room", PlacePeer, PlaceName))
	}
	board := ""
	if m != nil {
		board = m.BoardName()
	}
	if t.Publish != "" && t.Subscribe != "" && feeds(d.Topic(t.Publish, board), d.Topic(t.Subscribe, board)) {
		b.wrongTopic(d, "subscribe", errors.New("is where the service publishes itself, and each line would come back to it"))
	}
}

// wrongTopic records a mistake in a part of the key mqtt, on the line of that.
func (b *builder) wrongTopic(d described, name string, err error) {
	e := d.where("mqtt")
	if t, ok := e.value.(*toml.Table); ok {
		for _, one := range t.All() {
			if one.Name == name {
				e.line = one.Line
			}
		}
	}
	b.wrong(e, fmt.Errorf("%s: %w", name, err))
}

// feeds reports whether what is published to a topic may go to another one. A placeholder
// of a message is somewhere in one level. Levels are compared one by one, and only before
// the first and behind the last placeholder: to try what each may be takes for ever.
func feeds(publish, subscribe string) bool {
	from, to := strings.Split(publish, "/"), strings.Split(subscribe, "/")
	if len(from) != len(to) {
		return false
	}
	for i, level := range from {
		first, last := strings.IndexByte(level, '{'), strings.LastIndexByte(level, '}')
		if level != to[i] && (first < 0 || last < first || !strings.HasPrefix(to[i], level[:first]) || !strings.HasSuffix(to[i], level[last+1:])) {
			return false
		}
	}
	return true
}
