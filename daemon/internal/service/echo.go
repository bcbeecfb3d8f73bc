// SPDX-License-Identifier: Apache-2.0

package service

import "penstock/evloop"

// echo sends every byte back, in order (RFC 862). What the client does not
// take waits in its queue, and at the queue's bound the loop stops reading
// from it: a client that sends faster than it reads pauses only itself.
type echo struct{ plain }

// Data hands the loop's own bytes back to it: they are copied only if the
// kernel does not take them at once.
func (echo) Data(c *evloop.Conn, p []byte) int {
	c.WriteStatic(p)
	return len(p)
}

// discard takes everything and says nothing (RFC 863).
type discard struct{ plain }

// Data throws p away.
func (discard) Data(_ *evloop.Conn, p []byte) int { return len(p) }
