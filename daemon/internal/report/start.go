// SPDX-License-Identifier: Apache-2.0

package report

import (
	"errors"
	"log/slog"
	"time"

	"penstock/daemon/internal/config"
	"penstock/systemd"
)

// These records are of a process that has no daemon yet, or of what is beside it.

// StartFailed says why the process ends.
func StartFailed(log *slog.Logger, err error) {
	if !logMistakes(log, err) {
		log.Error("daemon failed", messageID(idFailed), slog.Any(keyErr, err))
	}
}

// logMistakes writes one record for each mistake in the configuration, so that
// every one can be found by file and key. It reports whether err is such.
func logMistakes(log *slog.Logger, err error) bool {
	mistakes, ok := errors.AsType[config.Errors](err)
	for _, m := range mistakes {
		log.Error("configuration mistake", messageID(idMistake), slog.String(keyConfig, m.File),
			slog.Int(keyLine, m.Line), slog.String(keyKey, m.Key), slog.String(keyErr, m.Problem))
	}
	return ok
}

// NotifyFailed says that the service manager will not learn how the process
// is doing. The services run all the same.
func NotifyFailed(log *slog.Logger, err error) {
	log.Warn("service manager not told", slog.Any(keyErr, err))
}

// Rejected says which descriptors came that are no listening sockets.
func Rejected(log *slog.Logger, descriptors []systemd.Rejected) {
	for _, r := range descriptors {
		log.Warn("descriptor closed", messageID(idStraySocket),
			slog.String(keyName, r.Name), slog.Int(keyFD, r.FD), slog.String(keyReason, r.Reason))
	}
}

// StartsTooOften says that the process waits before it begins, since it was
// started n times within the last minute and ended badly.
func StartsTooOften(log *slog.Logger, n int, wait time.Duration) {
	log.Warn("started too often, waiting", slog.Int(keyStarts, n), slog.Int64(keyWait, wait.Microseconds()))
}

// NoControl says that nobody can ask this process, and why.
func NoControl(log *slog.Logger, err error) { log.Warn("no control socket", slog.Any(keyErr, err)) }

// Kept says that a start will be served by what is in force now should the
// files have a mistake by then.
func Kept(log *slog.Logger) { log.Debug("configuration kept for a start that finds mistakes") }

// NotKept says that it will not.
func NotKept(log *slog.Logger, err error) {
	log.Warn("configuration not kept for a start that finds mistakes", slog.Any(keyErr, err))
}

// NotRestored says that what was kept cannot be served.
func NotRestored(log *slog.Logger, err error) {
	log.Error("configuration kept before is of no use", slog.Any(keyErr, err))
}
