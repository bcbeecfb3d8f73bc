// SPDX-License-Identifier: Apache-2.0

package config

import (
	"log/slog"
	"time"
)

// The defaults, and why they are what they are. reference.toml shows them to
// the user; a test compares the two.

// defaults are sized for the smallest board, a Pi Zero with 512 MiB: 16 MiB of
// queued output is what it can spare, and 64 connections are more than one
// honest client address opens.
func defaults() *Config {
	return &Config{
		Limits: Limits{Connections: 4096, PerSource: 64, Memory: 16 * mib},
		Log:    Log{Level: slog.LevelInfo, Peers: PeersFull},
		Loop:   Loop{Backend: BackendEpoll}, // works everywhere, and io_uring pays only where lines go to many
	}
}

// newService returns a service of a kind with all defaults in place.
func newService(name string, kind Kind, limits Limits) *Service {
	s := &Service{
		Name:         name,
		Kind:         kind,
		PerSource:    limits.PerSource,
		IdleTimeout:  idleDefault(kind),
		StallTimeout: 30 * time.Second,
		DrainTimeout: 10 * time.Second,
		MaxLine:      defaultLine,
		Queue:        int(min(64*kib, limits.Memory)),
		Overflow:     matrix[kind].preset,
		Backlog:      4096,  // SOMAXCONN since Linux 5.4
		SocketMode:   0o660, // owner and group; TCP clients on loopback need no less care
	}
	switch kind {
	case KindLookup:
		s.Lookup, s.AtEOF = &Lookup{Delimiter: "\n"}, Take
	case KindTicker:
		s.Ticker = &Ticker{Payload: "ping\n", Interval: 5 * time.Second}
	case KindHandler:
		s.Handler, s.AtEOF = &Handler{Delimiter: "\n"}, Take
	case KindRoom:
		r := presets[PresetNone]
		s.Room, s.AtEOF = &r, Take
	case KindQOTD:
		s.QOTD = &QOTD{}
	}
	return s
}

// idleDefault: who asks and is answered has five minutes to ask again. Who
// listens is silent by nature and stays; TCP keepalive finds those who died.
func idleDefault(kind Kind) time.Duration {
	switch kind {
	case KindTicker, KindRoom, KindChargen:
		return 0
	}
	return 5 * time.Minute
}

// presets holds the texts that go with a preset. Those of the tutorials'
// servers are on the wire exactly so (the framing of select-chat aside: the
// original sends pickled objects, and to unpickle what a network sent is to
// run it).
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

const (
	defaultLine = 4096  // what a terminal passes on as one line (termios(3))
	twistedLine = 16384 // what Twisted's LineReceiver takes (MAX_LENGTH); its clients may rely on it
)

// builtinQuotes are what a qotd service without a file sends.
var builtinQuotes = []string{
	"A gate that is never shut is a hole.",
	"Water finds the smallest opening; so does a slow client.",
	"Measure the pipe before you open the gate.",
}
