// SPDX-License-Identifier: Apache-2.0

package report

import (
	"log/slog"
	"time"
)

var (
	deviceOpened  = event{"device open", slog.LevelInfo, usualBurst}
	deviceGone    = event{"device gone", slog.LevelWarn, usualBurst}
	lineErrors    = event{"errors on the line", slog.LevelWarn, usualBurst}
	longPassed    = event{"long lines passed on in pieces", slog.LevelWarn, usualBurst}
	sourceDropped = event{"message for an absent source dropped", slog.LevelWarn, usualBurst}
)

// DeviceOpened says that a device is open and set.
func (s *Service) DeviceOpened(device string) {
	if s.limited(deviceOpened) {
		s.write(slog.LevelInfo, deviceOpened.name, slog.String(keyDevice, device))
	}
}

// SettingRefused says that the driver of a device has kept another value.
func (s *Service) SettingRefused(device, key, asked, got string) {
	s.write(slog.LevelWarn, "device did not take a setting", slog.String(keyDevice, device),
		slog.String(keyKey, key), slog.String(keyAsked, asked), slog.String(keyGot, got))
}

// DeviceNotOpened says that a device is not there or cannot be used. It is tried again.
func (s *Service) DeviceNotOpened(device string, err error) {
	s.write(slog.LevelWarn, "device not open, it is tried again", messageID(idNoDevice), slog.String(keyDevice, device), slog.Any(keyErr, err))
}

// DeviceGone says that a device that was open is not any more.
func (s *Service) DeviceGone(device string, err error, ran time.Duration) {
	if s.limited(deviceGone) {
		s.write(slog.LevelWarn, deviceGone.name, messageID(idNoDevice), slog.String(keyDevice, device),
			slog.Any(keyErr, err), slog.Int64(keyElapsed, ran.Microseconds()))
	}
}

// LineErrors says what was lost before this program could read it.
func (s *Service) LineErrors(device string, overrun, frame, parity, brk uint64) {
	if s.limited(lineErrors) {
		s.write(slog.LevelWarn, lineErrors.name, slog.String(keyDevice, device), slog.Uint64(keyOverrun, overrun),
			slog.Uint64(keyFrame, frame), slog.Uint64(keyParity, parity), slog.Uint64(keyBreak, brk))
	}
}

// LongPassed says that a line of the source was longer than max_line.
func (s *Service) LongPassed(bytes int) {
	if s.limited(longPassed) {
		s.write(slog.LevelWarn, longPassed.name, slog.Int(keyLimit, bytes))
	}
}

// SourceDropped says that a client's message came to nothing, since its source is away.
func (s *Service) SourceDropped(conn uint64, bytes int, reason Reason) {
	if s.limited(sourceDropped) {
		s.write(slog.LevelWarn, sourceDropped.name, slog.Uint64(keyConn, conn),
			slog.Int(keyBytes, bytes), slog.String(keyReason, reason.String()))
	}
}

// HalfLineDropped says that a source went in the middle of a line.
func (s *Service) HalfLineDropped(bytes int) {
	if s.limited(inputDropped) {
		s.write(slog.LevelWarn, inputDropped.name, slog.Int(keyBytes, bytes), slog.String(keyReason, LostUnfinished.String()))
	}
}
