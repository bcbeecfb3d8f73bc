// SPDX-License-Identifier: Apache-2.0

package service

import (
	"penstock/daemon/internal/view"
	"penstock/evloop"
)

// A Session is what c.State holds for every accepted connection. The daemon
// makes it; a service may write Data only.
type Session struct {
	ID    uint64 // never reused within a process, below 2^53, so that any JSON reader keeps it
	Peer  view.Peer
	Since evloop.Time
	Owner any // the part of the daemon to which the connection belongs
	Data  any // the service's own; nil for kinds that remember nothing

	at   int    // index in the fanout of its service,
	next uint64 // and the number of the first message that it has not got
}

// SessionOf returns the session of a connection that the daemon accepted.
func SessionOf(c *evloop.Conn) *Session { return c.State.(*Session) }
