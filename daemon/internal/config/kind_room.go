// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"penstock/daemon/internal/text"
)

// KindRoom passes each line to everybody in it.
const KindRoom Kind = "room"

// Room is a chat room. A template that the file does not set has the text of the
// preset. Each template is sent as one line; the newline is not part of it, and an
// empty template is not sent. The placeholders are {name} {peer} {line} {count}.
type Room struct {
	Preset       Preset
	Welcome      string // sent to a new client
	Message      string // sent for each line of a member
	Join, Leave  string // sent to the others
	History      int    // lines kept for newcomers
	EchoToSender bool
}

// A Preset is a chat server of a tutorial whose clients a room serves.
type Preset string

// The presets.
const (
	PresetNone       Preset = ""
	PresetTwisted    Preset = "twisted"     // lines end in CRLF only
	PresetSelectChat Preset = "select-chat" // NAME: line first
)

var roomKind = kind{
	name: KindRoom,
	keys: []key[Service]{
		{"preset", setPreset},
		{"welcome", own(func(k *Room) *string { return &k.Welcome }, roomText)},
		{"message", own(func(k *Room) *string { return &k.Message }, roomText)},
		{"join", own(func(k *Room) *string { return &k.Join }, roomText)},
		{"leave", own(func(k *Room) *string { return &k.Leave }, roomText)},
		{"history", own(func(k *Room) *int { return &k.History }, integer(0, 10000))},
		{"echo_to_sender", own(func(k *Room) *bool { return &k.EchoToSender }, flag)},
		atEOF,
		topics,
	},
	leads: "preset",
	defaults: func(s *Service) {
		listening(s)
		r := presets[PresetNone]
		s.Of, s.AtEOF = &r, Take
	},
	overflow: policies{Disconnect, map[Overflow]string{
		Pause: "not reading from a client makes no room in its queue, for others fill it",
	}},
	delimiter: func(s *Service) string { return s.Of.(*Room).Delimiter() },
	holds: func(s *Service) int64 {
		n := int64(s.Of.(*Room).History)
		return min(n*int64(s.MaxLine), int64(s.HistoryBound())) + n*perEntry
	},
	try: func(s *Service, to string) string {
		if s.Of.(*Room).Preset == PresetTwisted {
			return "nc -C " + to
		}
		return "nc " + to
	},
}

// Delimiter returns what ends a line of a member.
func (r *Room) Delimiter() string {
	if r.Preset == PresetTwisted {
		return "\r\n"
	}
	return "\n"
}

// HistoryBound returns the most bytes that a room keeps for newcomers: half of queue.
// The queue of a newcomer must hold all of it, and the lines that come meanwhile.
func (s *Service) HistoryBound() int { return s.Queue / 2 }

// twistedLine is what Twisted's LineReceiver takes (MAX_LENGTH); its clients
// may rely on it.
const twistedLine = 16384

// setPreset stores the texts along with the preset. It runs before the other
// keys of a room, so that each of them can be given differently.
func setPreset(s *Service, v any) error {
	p, err := choice(PresetNone, PresetTwisted, PresetSelectChat)(v)
	if err != nil {
		return err
	}
	r := presets[p]
	s.Of, s.MaxLine, s.AtEOF = &r, defaultLine, Take // an earlier file may have set another preset
	if p == PresetTwisted {
		s.MaxLine, s.AtEOF = twistedLine, Drop
	}
	return nil
}

// presets holds the texts of each preset. The tutorials' servers send exactly these
// texts. Only the framing of select-chat differs: the original sends pickled objects,
// and a program that unpickles data from a network runs code of the sender.
var presets = map[Preset]Room{
	PresetNone: {
		Welcome:      "Welcome to the chat server, {peer}",
		Message:      "{name}: {line}",
		EchoToSender: true,
	},
	PresetTwisted: {
		Preset:       PresetTwisted,
		Welcome:      "Welcome to the chat server, {peer}",
		Message:      "{peer}: {line}",
		EchoToSender: true,
	},
	PresetSelectChat: {
		Preset:  PresetSelectChat,
		Welcome: "CLIENT: {peer}",
		Message: "#[{name}]>> {line}",
		Join:    "(Connected: New client ({count}) from {name})",
		Leave:   "(Hung up: Client from {name})",
	},
}

// Placeholders of the room's templates.
const (
	PlaceName  = "{name}"
	PlacePeer  = "{peer}"
	PlaceLine  = "{line}"
	PlaceCount = "{count}"
)

// roomText takes a template of a room.
var roomText = templateOf(PlaceName, PlacePeer, PlaceLine, PlaceCount)

// templateOf returns a function that takes a template with these placeholders. It refuses
// other words in braces, because they would be sent as they are. Other braces are text. A
// newline is refused, because the second line would look like the line of somebody else.
func templateOf(placeholders ...string) func(any) (string, error) {
	return func(v any) (string, error) { return template(v, placeholders) }
}

func template(v any, placeholders []string) (string, error) {
	s, err := textUpTo(1024)(v)
	if err != nil {
		return "", err
	}
	if strings.ContainsFunc(s, func(r rune) bool { return text.IsControl(r) && r != '\t' }) {
		return "", errors.New("holds a control character; a template is one line and its newline is added")
	}
	return s, knownPlaces(s, placeholders)
}

// knownPlaces refuses words in braces that are no placeholder.
func knownPlaces(s string, placeholders []string) error {
	for rest := s; ; {
		i := strings.IndexByte(rest, '{')
		if i < 0 {
			return nil
		}
		rest = rest[i:]
		n := 1 + len(rest[1:]) - len(strings.TrimLeft(rest[1:], "abcdefghijklmnopqrstuvwxyz_"))
		if n > 1 && n < len(rest) && rest[n] == '}' && !slices.Contains(placeholders, rest[:n+1]) {
			return fmt.Errorf("%s is not one of %s", rest[:n+1], strings.Join(placeholders, " "))
		}
		rest = rest[1:]
	}
}
