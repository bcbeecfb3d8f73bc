// SPDX-License-Identifier: Apache-2.0

package report

import (
	"errors"
	"log/slog"

	"golang.org/x/sys/unix"

	"penstock/evloop"
)

// A Reason says why a client was not let in, why a connection ended, or why a
// message came to nothing: a word of the fields REASON, REFUSED and LOST. The
// zero Reason is none.
type Reason uint8

// Why a client was not let in.
const (
	RefusedAddress Reason = iota + 1 // allow, deny
	RefusedUID                       // allow_uid
	RefusedService                   // max_connections
	RefusedSource                    // per_source
	RefusedPeer                      // the client was gone before we could ask for its user
	RefusedHeader                    // accept_proxy: no PROXY header, or a malformed one
)

// Why a connection ended.
const (
	EndOrderly Reason = iota + RefusedHeader + 1
	EndReset
	EndIdle
	EndShutdown
	EndOverflow
	EndMemory
	EndInputFull
	EndStalled
	EndFlushTimeout
	EndAborted
	EndLoopClosed
	EndTimeout // keepalive, TCP_USER_TIMEOUT
	EndUnreachable
	EndLineTooLong // this and the following are a service's
	EndReplyLost
	EndNotTaken
	EndUnanswered
	EndNoBackend
	EndBackendReset
	EndBackendFailed
	EndSourceGone
	EndNotStarted // the program of an exec
	EndKicked     // by an administrator
	EndExpired    // this and the following come from a restart
	EndUnreadable // by the next process
	EndIncomplete // the next process has not got it
	EndUnnamed    // only the error itself can tell
)

// Why a message came to nothing.
const (
	LostUnfinished Reason = iota + EndUnnamed + 1 // the key at_eof
	LostUnanswered                                // by a handler's program, or by a service that ends
	LostAbsent                                    // the device or program of a bridge is away
	LostHeld                                      // another client holds it
)

// reasons holds the word, and the level of the record: that a client left by
// itself is of no interest, that one was cut off is the operator's business.
var reasons = [...]struct {
	word  string
	level slog.Level
}{
	RefusedAddress: {"address", slog.LevelWarn},
	RefusedUID:     {"uid", slog.LevelWarn},
	RefusedService: {"max_connections", slog.LevelWarn},
	RefusedSource:  {"per_source", slog.LevelWarn},
	RefusedPeer:    {"peer_unknown", slog.LevelWarn},
	RefusedHeader:  {"proxy_header", slog.LevelWarn},

	EndOrderly:       {"end", slog.LevelDebug},
	EndReset:         {"reset", slog.LevelDebug},
	EndIdle:          {"idle", slog.LevelInfo},
	EndShutdown:      {"shutdown", slog.LevelDebug},
	EndOverflow:      {"overflow", slog.LevelWarn},
	EndMemory:        {"memory", slog.LevelWarn},
	EndInputFull:     {"input_full", slog.LevelWarn},
	EndStalled:       {"stalled", slog.LevelWarn},
	EndFlushTimeout:  {"flush_timeout", slog.LevelWarn},
	EndAborted:       {"aborted", slog.LevelWarn},
	EndLoopClosed:    {"shutdown", slog.LevelWarn},
	EndTimeout:       {"timeout", slog.LevelInfo},
	EndUnreachable:   {"unreachable", slog.LevelInfo},
	EndLineTooLong:   {"line_too_long", slog.LevelWarn},
	EndReplyLost:     {"reply_lost", slog.LevelWarn},
	EndNotTaken:      {"not_taken", slog.LevelWarn},
	EndUnanswered:    {"unanswered", slog.LevelWarn},
	EndNoBackend:     {"no_backend", slog.LevelWarn},
	EndBackendReset:  {"backend_reset", slog.LevelDebug},
	EndBackendFailed: {"backend_failed", slog.LevelWarn},
	EndSourceGone:    {"source_gone", slog.LevelInfo},
	EndNotStarted:    {"not_started", slog.LevelWarn},
	EndKicked:        {"kicked", slog.LevelInfo},
	EndExpired:       {"handover_expired", slog.LevelWarn},
	EndUnreadable:    {"handover_unreadable", slog.LevelWarn},
	EndIncomplete:    {"handover_incomplete", slog.LevelWarn},
	EndUnnamed:       {"error", slog.LevelWarn},

	LostUnfinished: {"no_delimiter", slog.LevelWarn},
	LostUnanswered: {"unanswered", slog.LevelWarn},
	LostAbsent:     {"absent", slog.LevelWarn},
	LostHeld:       {"held", slog.LevelWarn},
}

// String returns the word.
func (r Reason) String() string { return reasons[r].word }

// Refusals returns every reason for which a client is not let in.
func Refusals() []Reason { return between(RefusedAddress, RefusedHeader) }

// Ends returns every reason for which a connection ends.
func Ends() []Reason { return between(EndOrderly, EndUnnamed) }

// Losses returns every reason for which a message comes to nothing.
func Losses() []Reason { return between(LostUnfinished, LostHeld) }

func between(first, last Reason) (all []Reason) {
	for r := first; r <= last; r++ {
		all = append(all, r)
	}
	return all
}

// Cut reports whether a connection that ended so was cut off, rather than closed.
func (r Reason) Cut() bool { return reasons[r].level >= slog.LevelInfo }

// A Cause is an error by which a service ends a connection.
type Cause struct {
	text   string
	reason Reason
}

// NewCause returns an error that reads text, and of which EndOf returns r.
func NewCause(text string, r Reason) *Cause { return &Cause{text, r} }

func (c *Cause) Error() string { return c.text }

// causes are the errors of the loop and the system.
var causes = []struct {
	err    error
	reason Reason
}{
	{unix.ECONNRESET, EndReset},
	{unix.EPIPE, EndReset},
	{evloop.ErrIdle, EndIdle},
	{evloop.ErrOverflow, EndOverflow},
	{evloop.ErrMemory, EndMemory},
	{evloop.ErrInputFull, EndInputFull},
	{evloop.ErrTruncated, EndInputFull},
	{evloop.ErrStalled, EndStalled},
	{evloop.ErrFlushTimeout, EndFlushTimeout},
	{evloop.ErrAborted, EndAborted},
	{evloop.ErrLoopClosed, EndLoopClosed},
	{unix.ETIMEDOUT, EndTimeout},
	{unix.EHOSTUNREACH, EndUnreachable},
	{unix.ENETUNREACH, EndUnreachable},
}

// EndOf returns why a connection ended that was closed with err.
func EndOf(err error) Reason {
	if err == nil {
		return EndOrderly
	}
	for _, c := range causes {
		if errors.Is(err, c.err) {
			return c.reason
		}
	}
	if c, ok := errors.AsType[*Cause](err); ok {
		return c.reason
	}
	return EndUnnamed
}
