// SPDX-License-Identifier: Apache-2.0

package config

import (
	"log/slog"
	"time"
)

// The defaults, each with its reason. reference.toml shows them to the user, and a
// test compares the two.

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
	row := kind.row()
	s := &Service{
		Name:         name,
		Kind:         kind,
		PerSource:    limits.PerSource,
		IdleTimeout:  asking,
		StallTimeout: 30 * time.Second,
		DrainTimeout: 10 * time.Second,
		Persist:      PersistRestart,
		MaxLine:      defaultLine,
		Queue:        int(min(64*kib, limits.Memory)),
		Overflow:     row.overflow.preset,
		Backlog:      4096, // SOMAXCONN since Linux 5.4
		SocketMode:   defaultSocketMode,
	}
	if row.defaults != nil {
		row.defaults(s)
	}
	return s
}

const defaultLine = 4096 // what a terminal passes on as one line (termios(3))

// defaultSocketMode lets the owner and the group connect.
const defaultSocketMode = 0o660
