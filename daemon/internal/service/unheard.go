// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"time"

	"penstock/daemon/internal/report"
	"penstock/evloop"
)

// A service that ends gives its clients what they are due for what it has read. It reads
// nothing more: a client that never stops to speak would delay each stop. But the kernel has
// acknowledged what lies unread, and the client gets a clean end behind a part of its answer.
// So the log says how much that was, and the connection counts as cut.
//
// What comes between that look and the end is not counted: a client that speaks on while its
// answers go out. It learns of that itself, since its next write fails.

// unheard logs what c has said and nobody will read, because the service ends: what the
// kernel holds, and more that the service knows of. It returns the reason for the end of c;
// nil: there was nothing.
func unheard(log *report.Service, c *evloop.Conn, more int) error {
	n := c.KernelInput() + more
	if n <= 0 {
		return nil
	}
	log.InputDropped(SessionOf(c).ID, n, report.LostUnanswered)
	return ErrUnanswered
}

// dismiss ends a connection because its service ends. Whole lines in left, which is
// what Drain got, are counted by lose, and the record of the connection says that there
// were some. A client whose end has begun before has another reason for it.
func dismiss(c *evloop.Conn, left, delim []byte, env dismissal, timeout time.Duration) {
	var reason error // nil: see Drainer
	if !c.Closing() {
		reason = unheard(env.log, c, 0)
		if lines := bytes.Count(left, delim); lines > 0 {
			env.lose(report.LostUnanswered, lines)
			reason = ErrUnanswered
		}
	}
	c.CloseAfterFlush(timeout, reason)
}

// A dismissal is what dismiss needs of Env.
type dismissal struct {
	log  *report.Service
	lose func(reason report.Reason, messages int)
}
