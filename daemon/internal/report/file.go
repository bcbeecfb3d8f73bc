// SPDX-License-Identifier: Apache-2.0

package report

import "log/slog"

var (
	fileFollowed = event{"file followed", slog.LevelInfo, usualBurst}
	fileAwaited  = event{"file awaited", slog.LevelWarn, usualBurst}
	fileMissed   = event{"file came and went unread", slog.LevelWarn, usualBurst}
	longLine     = event{"line longer than max_line sent in pieces", slog.LevelInfo, usualBurst}
)

// FileFollowed says that a file is read from offset on, and why from now on: it was
// opened, replaced, truncated or resumed.
func (s *Service) FileFollowed(file, why string, offset int64) {
	if s.limited(fileFollowed) {
		s.write(slog.LevelInfo, fileFollowed.name, slog.String(keyFile, file), slog.String(keyEvent, why), slog.Int64(keyOffset, offset))
	}
}

// FileAwaited says that a file cannot be read, and why. It is read when it can be.
func (s *Service) FileAwaited(file string, err error) {
	if s.limited(fileAwaited) {
		s.write(slog.LevelWarn, fileAwaited.name, slog.String(keyFile, file), slog.Any(keyErr, err))
	}
}

// FileMissed says that some files had the name for so short a time that they could not
// be opened.
func (s *Service) FileMissed(file string, files int) {
	if s.limited(fileMissed) {
		s.write(slog.LevelWarn, fileMissed.name, slog.String(keyFile, file), slog.Int(keyFiles, files))
	}
}

// LongLine says that a line of a file was passed on in pieces.
func (s *Service) LongLine(file string, bytes int) {
	if s.limited(longLine) {
		s.write(slog.LevelInfo, longLine.name, slog.String(keyFile, file), slog.Int(keyBytes, bytes))
	}
}
