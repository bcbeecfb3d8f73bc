// SPDX-License-Identifier: Apache-2.0

package report

import (
	"log/slog"
	"time"
)

var (
	deviceOpened  = event{"device open", slog.LevelInfo, usualBurst}
	deviceGone    = event{"device gone", slog.LevelWarn, usualBurst}
	outputLost    = event{"device closed with output not sent", slog.LevelWarn, usualBurst}
	lineErrors    = event{"errors on the line", slog.LevelWarn, usualBurst}
	longPassed    = event{"long lines passed on in pieces", slog.LevelWarn, usualBurst}
	replyMissing  = event{"message without a reply", slog.LevelWarn, usualBurst}
	replyDropped  = event{"reply for nobody dropped", slog.LevelInfo, usualBurst}
	heldDropped   = event{"message dropped, another client holds the source", slog.LevelWarn, usualBurst}
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

// OutputLost says how many bytes have not left a device that went or was closed, and will
// not any more.
func (s *Service) OutputLost(device string, bytes int) {
	if s.limited(outputLost) {
		s.write(slog.LevelWarn, outputLost.name, slog.String(keyDevice, device), slog.Int(keyUnsent, bytes))
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

// HeldDropped says that a client's message came to nothing, since another one holds its
// source.
func (s *Service) HeldDropped(conn uint64, bytes int) {
	if s.limited(heldDropped) {
		s.write(slog.LevelWarn, heldDropped.name, slog.Uint64(keyConn, conn),
			slog.Int(keyBytes, bytes), slog.String(keyReason, LostHeld.String()))
	}
}

// ReplyMissing says that the source has not answered a client's message, or has not ended
// its reply, in time.
func (s *Service) ReplyMissing(conn uint64) {
	if s.limited(replyMissing) {
		s.write(slog.LevelWarn, replyMissing.name, slog.Uint64(keyConn, conn), slog.String(keyReason, LostUnanswered.String()))
	}
}

// ReplyDropped says that what the source has said was for a client that has left, or that
// has asked something else meanwhile.
func (s *Service) ReplyDropped(conn uint64, bytes int) {
	if s.limited(replyDropped) {
		s.write(slog.LevelInfo, replyDropped.name, slog.Uint64(keyConn, conn), slog.Int(keyBytes, bytes))
	}
}

// HalfLineDropped says that a source went in the middle of a line.
func (s *Service) HalfLineDropped(bytes int) {
	if s.limited(inputDropped) {
		s.write(slog.LevelWarn, inputDropped.name, slog.Int(keyBytes, bytes), slog.String(keyReason, LostUnfinished.String()))
	}
}
