// SPDX-License-Identifier: Apache-2.0

package report

import (
	"log/slog"
	"time"
)

var (
	backendSilent  = event{"backend does not answer", slog.LevelWarn, usualBurst}
	backendAnswers = event{"backend answers again", slog.LevelInfo, usualBurst}
)

// BackendSilent says that a client waits, because no address of the backend has
// answered. address is the last one that was tried, and err what it said.
func (s *Service) BackendSilent(address string, err error) {
	if s.limited(backendSilent) {
		s.write(slog.LevelWarn, backendSilent.name, slog.String(keyAddress, address), slog.Any(keyErr, err))
	}
}

// BackendAnswers says that the backend answers again, at address.
func (s *Service) BackendAnswers(address string, silent time.Duration) {
	if s.limited(backendAnswers) {
		s.flush(backendSilent)
		s.write(slog.LevelInfo, backendAnswers.name, slog.String(keyAddress, address), slog.Int64(keyElapsed, silent.Microseconds()))
	}
}
