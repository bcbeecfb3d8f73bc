// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"log/slog"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/service"
	"penstock/evloop"
)

// Why a client was refused, as the field REASON says it.
const (
	refusedAddress = "address"         // allow, deny
	refusedUID     = "uid"             // allow_uid
	refusedService = "max_connections" // of the service
	refusedSource  = "per_source"
	refusedPeer    = "peer_unknown" // the client was gone before we could ask for its user
)

// A reasoner is an error of a service that names its own reason, for a client
// that broke the service's rules.
type reasoner interface {
	error
	Reason() string
}

// closeReasons maps why a connection ended to REASON and to a level: that a
// client left by itself is of no interest, that one was cut off is the operator's
// business.
var closeReasons = []struct {
	err    error
	reason string
	level  slog.Level
}{
	{nil, "end", slog.LevelDebug},
	{unix.ECONNRESET, "reset", slog.LevelDebug},
	{unix.EPIPE, "reset", slog.LevelDebug},
	{evloop.ErrIdle, "idle", slog.LevelInfo},
	{service.ErrShutdown, "shutdown", slog.LevelDebug},
	{evloop.ErrOverflow, "overflow", slog.LevelWarn},
	{evloop.ErrMemory, "memory", slog.LevelWarn},
	{evloop.ErrInputFull, "input_full", slog.LevelWarn},
	{evloop.ErrTruncated, "input_full", slog.LevelWarn},
	{evloop.ErrStalled, "stalled", slog.LevelWarn},
	{evloop.ErrFlushTimeout, "flush_timeout", slog.LevelWarn},
	{evloop.ErrAborted, "aborted", slog.LevelWarn},
	{evloop.ErrLoopClosed, "shutdown", slog.LevelWarn},
	{unix.ETIMEDOUT, "timeout", slog.LevelInfo}, // keepalive, TCP_USER_TIMEOUT
	{unix.EHOSTUNREACH, "unreachable", slog.LevelInfo},
	{unix.ENETUNREACH, "unreachable", slog.LevelInfo},
}

// unnamedReason is REASON when only the error itself can tell.
const unnamedReason = "error"

// reasonOf returns REASON and the level for what Closed reported.
func reasonOf(err error) (reason string, level slog.Level) {
	for _, c := range closeReasons {
		if errors.Is(err, c.err) {
			return c.reason, c.level
		}
	}
	if r, ok := errors.AsType[reasoner](err); ok {
		return r.Reason(), slog.LevelWarn
	}
	return unnamedReason, slog.LevelWarn
}
