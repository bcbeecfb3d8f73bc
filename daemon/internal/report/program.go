// SPDX-License-Identifier: Apache-2.0

package report

import (
	"log/slog"
	"time"

	"penstock/daemon/internal/text"
)

var (
	programWrote  = event{"program wrote", slog.LevelInfo, 200} // a traceback is to be read to its end
	pipeFailed    = event{"pipe to the program failed", slog.LevelWarn, usualBurst}
	signalFailed  = event{"signal to the program failed", slog.LevelWarn, usualBurst}
	outputDropped = event{"program output dropped", slog.LevelWarn, usualBurst}
)

// ProgramStarted says that the program runs.
func (s *Service) ProgramStarted(pid int, command string) {
	s.write(slog.LevelInfo, "program started", slog.Int(keyPID, pid), slog.String(keyCommand, command))
}

// ProgramNotStarted says that it does not, and why.
func (s *Service) ProgramNotStarted(command string, err error) {
	s.write(slog.LevelError, "program not started", slog.String(keyCommand, command), slog.Any(keyErr, err))
}

// ProgramWrote passes a line of the program's stderr on to the operator.
func (s *Service) ProgramWrote(line []byte) {
	if s.limited(programWrote) {
		s.write(slog.LevelInfo, programWrote.name, slog.String(keyText, string(text.AppendClean(nil, line))))
	}
}

// PipeFailed says which pipe the system has taken from us.
func (s *Service) PipeFailed(pipe string, err error) {
	if s.limited(pipeFailed) {
		s.write(slog.LevelWarn, pipeFailed.name, slog.String(keyPipe, pipe), slog.Any(keyErr, err))
	}
}

// SignalFailed says that the program could not be sent a signal.
func (s *Service) SignalFailed(signal string, err error) {
	if s.limited(signalFailed) {
		s.write(slog.LevelWarn, signalFailed.name, slog.String(keySignal, signal), slog.Any(keyErr, err))
	}
}

// ProgramUnseen says that nobody can tell when the program ends. It may be called
// on any goroutine.
func (s *Service) ProgramUnseen(pid int, err error) {
	s.write(slog.LevelError, "end of the program not seen, it is killed", slog.Int(keyPID, pid), slog.Any(keyErr, err))
}

// OutputDropped says that a line of the program of so many bytes is no reply.
// line may be its beginning.
func (s *Service) OutputDropped(line []byte, bytes int, err error) {
	if s.limited(outputDropped) {
		s.write(slog.LevelWarn, outputDropped.name, slog.Any(keyErr, err),
			slog.Int(keyBytes, bytes), slog.String(keyText, text.Excerpt(line, 80)))
	}
}

// LateReplies says how many replies were to clients that had left.
func (s *Service) LateReplies(replies int) {
	s.write(slog.LevelDebug, "replies to clients that have left", slog.Int(keyReplies, replies))
}

// ProgramEnded says how a program ended, after what of its last words was held
// back. asked is set when it was told to end.
func (s *Service) ProgramEnded(status string, asked bool, unanswered int, ran time.Duration) {
	s.flush(outputDropped)
	s.flush(programWrote)
	level := slog.LevelWarn
	if asked {
		level = slog.LevelInfo
	}
	s.write(level, "program ended", slog.String(keyStatus, status),
		slog.Int(keyUnanswered, unanswered), slog.Int64(keyElapsed, ran.Microseconds()))
}
