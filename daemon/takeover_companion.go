// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"time"

	"penstock/daemon/internal/service"
	"penstock/evloop"
)

// A client may have a connection beside its own, such as that to the backend of a proxy.
// It is restored by itself, and the service brings the two together. If the client does
// not go on, neither does this one: it gets what it was due, and ends without a record
// of its own. Clients alone are counted. If the client had left before the restart, its
// last bytes may still be on their way to the other end, which gets them all the same.

// A remnant is the other end of a client that is left behind.
type remnant struct {
	conn    *evloop.Conn
	timeout time.Duration
}

// leftover handles remnants: there is nobody for what they say.
type leftover struct{ evloop.Base }

// clientless is the State of a remnant, by which the next restart knows it.
type clientless struct{}

// Client returns nil: it is gone.
func (clientless) Client() *evloop.Conn { return nil }

// Restored takes the place of Open.
func (leftover) Restored(*evloop.Conn, []byte) error { return nil }

// Saved has nothing to say.
func (leftover) Saved(*evloop.Conn) ([]byte, error) { return nil, nil }

// Data drops what is said.
func (leftover) Data(_ *evloop.Conn, p []byte) int { return len(p) }

// Closed has nobody to tell.
func (leftover) Closed(*evloop.Conn, error) {}

// companion restores the connection that a client has beside its own.
func (t *takeover) companion(fd int, c client, of serviceState) {
	if of.err == nil {
		if s, ok := t.d.endpoints[c.service].svc.(service.Companioned); ok {
			h, opts := s.Companion()
			if _, err := t.restore.Conn(fd, h, nil, opts, c.saved); err == nil {
				return
			}
		}
		t.drop(fd, true) // the service ends the client
		return
	}
	conn, err := t.restore.Conn(fd, leftover{}, clientless{}, &evloop.Options{}, c.saved)
	switch {
	case err != nil:
		t.drop(fd, true)
	case of.half():
		conn.Abort(of.err)
	default:
		t.remnants = append(t.remnants, remnant{conn, of.timeout})
	}
}

// remnant restores a connection whose client was gone before the restart. Its end has begun
// there, and goes on.
func (t *takeover) remnant(fd int, c client) {
	opts := &evloop.Options{Overflow: evloop.Disconnect, StallTimeout: c.stall}
	if _, err := t.restore.Conn(fd, leftover{}, clientless{}, opts, c.saved); err != nil {
		t.left = append(t.left, fd)
	}
}

// endRemnants finishes those whose clients are finished.
func (t *takeover) endRemnants() {
	for _, r := range t.remnants {
		r.conn.CloseAfterFlush(r.timeout, nil)
	}
}
