// SPDX-License-Identifier: Apache-2.0

package service

import (
	"time"

	"penstock/daemon/internal/report"
	"penstock/evloop"
)

// echo sends every byte back, in order (RFC 862). What the client does not
// take waits in its queue, and at the queue's bound the loop stops reading
// from it: a client that sends faster than it reads pauses only itself.
type echo struct {
	plain
	log *report.Service
}

// Data hands the loop's own bytes back to it: they are copied only if the
// kernel does not take them at once.
func (*echo) Data(c *evloop.Conn, p []byte) int {
	c.WriteStatic(p)
	return len(p)
}

// Drain ends a connection when the service ends. What is behind a full queue has not even
// been read, and comes back to nobody.
func (s *echo) Drain(c *evloop.Conn, _ []byte, timeout time.Duration) {
	dismiss(c, nil, lineEnd, dismissal{log: s.log}, timeout)
}

// discard takes everything and says nothing (RFC 863).
type discard struct{ plain }

// Data throws p away.
func (discard) Data(_ *evloop.Conn, p []byte) int { return len(p) }
