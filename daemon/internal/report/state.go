// SPDX-License-Identifier: Apache-2.0

package report

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/view"
)

// A record is one line of the state: a constant message, and what varies.
type record struct {
	message string
	attrs   []slog.Attr
}

// State writes what a snapshot holds.
func (l *Log) State(s *view.Snapshot) {
	for _, r := range stateRecords(s, l.peers) {
		l.to.LogAttrs(context.Background(), slog.LevelInfo, r.message, r.attrs...)
	}
}

// stateRecords are the records of a snapshot: one for the process, one for each
// service and one for each connection that is listed.
func stateRecords(s *view.Snapshot, peers config.Peers) []record {
	out := []record{{"state", processAttrs(s)}}
	for i := range s.Services {
		v := &s.Services[i]
		out = append(out, record{"service state", serviceAttrs(v)})
		if v.Source != nil {
			out = append(out, record{"source state", sourceAttrs(v.Name, v.Source)})
		}
		for _, c := range v.Conns {
			out = append(out, record{"connection state", connAttrs(v.Name, c, peers)})
		}
	}
	return out
}

func processAttrs(s *view.Snapshot) []slog.Attr {
	return []slog.Attr{
		slog.String(keyPhase, s.Phase), slog.Int(keyServices, s.InForce()), slog.Int(keyConns, s.Clients()),
		slog.Int(keyLeaving, len(s.Services)-s.InForce()), slog.Int(keyTimers, s.Loop.Timers), slog.Int64(keyQueued, s.Loop.Queued),
		slog.Uint64(keyAccepted, s.Loop.Accepted), slog.Uint64(keyAcceptErrors, s.Loop.AcceptErrors),
		slog.Uint64(keyStaleEvents, s.Loop.StaleEvents),
		slog.Int64(keyBusy, s.Loop.Busy.Microseconds()), slog.Int64(keyAsleep, s.Loop.Asleep.Microseconds()),
		slog.Int64(keyLongestTurn, s.Loop.Longest.Microseconds()),
	}
}

func serviceAttrs(v *view.Service) []slog.Attr {
	var open []string
	for _, ln := range v.Listeners {
		if !ln.Dead {
			open = append(open, ln.Address)
		}
	}
	return []slog.Attr{
		slog.String(keyService, v.Name), slog.String(keyKind, v.Kind), slog.String(keyListeners, strings.Join(open, " ")),
		slog.Int(keyMissing, len(v.Missing)), slog.Bool(keyLeaving, v.Leaving), slog.Int(keyConns, v.Clients),
		slog.Uint64(keyAccepted, v.Accepted), slog.String(keyRefused, counts(v.Refused)), slog.String(keyLost, counts(v.Lost)),
		slog.Int(keyKernel, v.Kernel), slog.Uint64(keyDropped, v.Dropped),
		slog.Uint64(keyBytesIn, v.Closed.In+v.Open.In), slog.Uint64(keyBytesOut, v.Closed.Out+v.Open.Out),
	}
}

func sourceAttrs(service string, s *view.Source) []slog.Attr {
	return []slog.Attr{
		slog.String(keyService, service), slog.String(keySource, s.Name), slog.String(keyState, s.State),
		slog.Uint64(keyBytesIn, s.In), slog.Uint64(keyBytesOut, s.Out), slog.Uint64(keyLong, s.Long),
		slog.Int(keyQueued, s.Queued), slog.Uint64(keyUnsent, s.Unsent),
		slog.Uint64(keyOverrun, s.Overrun), slog.Uint64(keyFrame, s.Frame), slog.Uint64(keyParity, s.Parity), slog.Uint64(keyBreak, s.Break),
		slog.String(keyOtherwise, s.Refused),
	}
}

func connAttrs(service string, c view.Conn, peers config.Peers) []slog.Attr {
	return []slog.Attr{
		slog.String(keyService, service), slog.Uint64(keyConn, c.ID), peer(c.Peer, peers),
		slog.Int(keyQueued, c.Queued), slog.Int(keyKernel, c.Kernel), slog.Uint64(keyBytesIn, c.In), slog.Uint64(keyBytesOut, c.Out),
		slog.Uint64(keyDropped, c.Dropped), slog.Int64(keyElapsed, c.Age.Microseconds()),
	}
}

// counts lists numbers by reason, "address=3 uid=1".
func counts(byReason map[string]uint64) string {
	var texts []string
	for reason, n := range byReason {
		texts = append(texts, fmt.Sprintf("%s=%d", reason, n))
	}
	slices.Sort(texts)
	return strings.Join(texts, " ")
}

// peer returns the client's address as far as log.peers lets it be known. An
// attribute without a key is left out by slog.
func peer(p view.Peer, peers config.Peers) slog.Attr {
	switch peers {
	case config.PeersNone:
		return slog.Attr{}
	case config.PeersFull:
		return slog.String(keyPeer, p.String())
	}
	return slog.String(keyPeer, p.Network())
}
