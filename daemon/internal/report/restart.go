// SPDX-License-Identifier: Apache-2.0

package report

import (
	"log/slog"
	"time"
)

// HandingOver says that a signal has begun a restart that is to close none of so many
// connections.
func (l *Log) HandingOver(signal string, conns int) {
	l.to.Info("daemon handing over", messageID(idHandingOver), slog.String(keySignal, signal), slog.Int(keyConns, conns))
}

// HandOverFailed says that the next process cannot go on with the connections: they are
// finished as at a stop.
func (l *Log) HandOverFailed(err error) {
	l.to.Error("connections not handed over, finishing them", messageID(idNotHandedOver), slog.Any(keyErr, err))
}

// HandedOver is the last record of the old process. cut connections could not be put
// into the queue and were closed.
func (l *Log) HandedOver(conns, cut int, elapsed time.Duration) {
	l.to.Info("connections handed over", messageID(idHandedOver), slog.Int(keyConns, conns), slog.Int(keyCut, cut),
		slog.Int64(keyElapsed, elapsed.Microseconds()))
}

// TookOver says with how many connections the process goes on, how many it does not,
// and how long they waited in the queue.
func (l *Log) TookOver(conns, cut int, waited time.Duration) {
	l.to.Info("connections taken over", messageID(idTookOver), slog.Int(keyConns, conns), slog.Int(keyCut, cut),
		slog.Int64(keyElapsed, waited.Microseconds()))
}

// TakeOverFailed says why none of so many connections can be taken over.
func (l *Log) TakeOverFailed(reason Reason, conns int, err error) {
	l.to.Error("connections not taken over", messageID(idNotTakenOver), slog.String(keyReason, reason.String()),
		slog.Int(keyConns, conns), slog.Any(keyErr, err))
}

// NotTakenOver says why so many connections of a service are not served any more.
// service is "" if it is not known.
func (l *Log) NotTakenOver(service string, reason Reason, conns int, err error) {
	l.to.Warn("connections of a service not taken over", messageID(idNotTakenOver), slog.String(keyService, service),
		slog.String(keyReason, reason.String()), slog.Int(keyConns, conns), slog.Any(keyErr, err))
}

// QueueFailed says that something went wrong with the queue of a former process, after
// its connections were taken over, or before somebody tries again.
func (l *Log) QueueFailed(err error) {
	l.to.Error("queue of connections", slog.Any(keyErr, err))
}
