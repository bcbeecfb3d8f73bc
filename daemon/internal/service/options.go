// SPDX-License-Identifier: Apache-2.0

package service

import (
	"time"

	"penstock/daemon/internal/config"
	"penstock/evloop"
)

// farewellTimeout is how long a client that was cut for not reading has to
// take the line that says so. Short: it is holding memory.
const farewellTimeout = 2 * time.Second

var overflows = map[config.Overflow]evloop.Overflow{
	config.Pause:      evloop.Pause,
	config.DropOldest: evloop.DropOldest,
	config.DropNewest: evloop.DropNewest,
	config.Disconnect: evloop.Disconnect,
}

// Options translates the service's keys. One value serves all connections
// of the service, each of which holds a pointer to it; a reload makes a new one.
func Options(s *config.Service, svc Service) *evloop.Options {
	o := &evloop.Options{
		MaxInput:     s.MaxLine + maxDelimiter,
		Queue:        s.Queue,
		Overflow:     overflows[s.Overflow],
		IdleTimeout:  s.IdleTimeout,
		StallTimeout: s.StallTimeout,
	}
	if f, ok := svc.(Fareweller); ok {
		o.Farewell, o.FarewellTimeout = f.Farewell(), farewellTimeout
	}
	if b, ok := svc.(Bounder); ok {
		b.Bound(o)
	}
	return o
}

// maxDelimiter is room for a delimiter behind a line of max_line bytes, and
// for the one byte more by which a service sees that the line is too long.
const maxDelimiter = 64
