// SPDX-License-Identifier: Apache-2.0

package report

import (
	"log/slog"
	"time"
)

// Records of programs that run for one client. Any client can cause them, so they are
// limited.
var (
	clientProgramNotStarted = event{"program not started", slog.LevelError, usualBurst}
	clientProgramEnded      = event{"program ended", slog.LevelInfo, usualBurst}
)

// Of returns the part of the log that is about one client of the service.
func (s *Service) Of(conn uint64) *Service {
	return &Service{s.log, s.name, s.to.With(slog.Uint64(keyConn, conn))}
}

// ClientProgramStarted says that the program of a client runs.
func (s *Service) ClientProgramStarted(pid int, command string) {
	s.write(slog.LevelDebug, "program started", slog.Int(keyPID, pid), slog.String(keyCommand, command))
}

// ClientProgramNotStarted says that it does not, and why.
func (s *Service) ClientProgramNotStarted(command string, err error) {
	if s.limited(clientProgramNotStarted) {
		s.write(slog.LevelError, clientProgramNotStarted.name, slog.String(keyCommand, command), slog.Any(keyErr, err))
	}
}

// ClientProgramEnded says how it ended. well is set if that is no news.
func (s *Service) ClientProgramEnded(pid int, status string, well bool, ran time.Duration) {
	level := slog.LevelInfo
	if well {
		level = slog.LevelDebug
	}
	if well || s.limited(clientProgramEnded) {
		s.write(level, clientProgramEnded.name, slog.Int(keyPID, pid), slog.String(keyStatus, status),
			slog.Int64(keyElapsed, ran.Microseconds()))
	}
}
