// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"penstock/daemon/internal/config"
	"penstock/daemon/internal/service"
	"penstock/evloop"
)

// A reload closes nobody whose service goes on with the same kind and delimiter. The
// service takes its new keys at once, so the next message meets the new table, text or
// program. Bounds of a connection are set one connection after the other, some in each
// turn of the loop, because a new bound may be a system call and there may be thousands:
//
//	commit ─► adjust ─► adjustClients ─► adjustSome ─► (next turn) adjustSome ─► …
//
// A connection that comes meanwhile has the new bounds from the beginning. The
// alternative, new bounds for new connections only, would leave a client that never
// leaves with the bounds of long ago.

// adjustPortion is how many connections are given new bounds in a turn.
const adjustPortion = 128

// adjust gives the endpoint and its service the keys of s. Options of a connection are
// new only if a key is.
func (ep *endpoint) adjust(s *config.Service) {
	if !ep.conf.SameAs(s) {
		ep.opts = service.Options(s, ep.svc)
	}
	ep.conf = s
	if a, ok := ep.svc.(service.Adjuster); ok {
		a.Adjust(s)
	}
}

// adjustClient gives c the present bounds, unless it has them. Data does so too: a client
// whose turn has not come yet may send a message of the new length.
func (ep *endpoint) adjustClient(c *evloop.Conn) {
	if _, waits := unannounced(c); waits || c.Options() == ep.opts {
		return
	}
	was := isWatched(c)
	c.SetOptions(ep.opts)
	ep.d.watchAgain(c, was)
	if a, ok := ep.svc.(service.Adjuster); ok {
		a.Adjusted(c)
	}
}

// adjustClients gives the connections of the endpoint its present bounds.
func (ep *endpoint) adjustClients() {
	var all []evloop.ConnID
	for c := range ep.connections {
		all = append(all, c.ID())
	}
	ep.adjustSome(all)
}

// adjustSome serves a portion of the connections. Another reload may have come since
// the first portion: then the bounds are those of that one.
func (ep *endpoint) adjustSome(left []evloop.ConnID) {
	portion := left[:min(len(left), adjustPortion)]
	for _, id := range portion {
		if c := ep.d.loop.Conn(id); c != nil && !ep.retired {
			ep.adjustClient(c)
		}
	}
	if left = left[len(portion):]; len(left) > 0 {
		ep.d.loop.Post(func() { ep.adjustSome(left) })
	}
}
