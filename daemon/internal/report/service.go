// SPDX-License-Identifier: Apache-2.0

package report

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/text"
	"penstock/daemon/internal/view"
)

// A Service writes the records of one service, which carry its name. Loop
// goroutine only.
type Service struct {
	log  *Log
	name string
	to   *slog.Logger // carries the name
}

// Service returns the part of the log that is about one service.
func (l *Log) Service(name string) *Service {
	return &Service{l, name, l.to.With(slog.String(keyService, name))}
}

// limited reports whether a record that a peer or a program has caused is to be
// written now.
func (s *Service) limited(e event) bool {
	return s.to.Enabled(context.Background(), e.level) &&
		s.log.lim.allow(limitKey{s.name, e})
}

// flush says how many records of e are held back.
func (s *Service) flush(e event) {
	s.log.lim.flush(limitKey{s.name, e})
}

func (s *Service) write(level slog.Level, message string, attrs ...slog.Attr) {
	s.to.LogAttrs(context.Background(), level, message, attrs...)
}

// Serving says that the service accepts at address.
func (s *Service) Serving(address string) {
	s.write(slog.LevelDebug, "service listening", slog.String(keyListener, address))
}

// NeedsRestart says that a key of an open socket cannot be changed.
func (s *Service) NeedsRestart(address, key string) {
	s.write(slog.LevelWarn, "change takes effect at the next start",
		slog.String(keyListener, address), slog.String(keyKey, key))
}

// ListenerMissing says that no socket came for an address of the service, or that a
// process which opens its sockets itself (managed is false) could not open it.
func (s *Service) ListenerMissing(address string, managed bool) {
	s.write(slog.LevelError, "listener missing", messageID(idNoListener), slog.String(keyKey, "service."+s.name+".listen"),
		slog.String(keyListener, address), slog.String(keyHint, HintMissing(managed)))
}

// ListenerFailed says that a socket accepts nobody any more.
func (s *Service) ListenerFailed(address string, err error) {
	s.write(slog.LevelError, "listener failed", messageID(idNoListener),
		slog.String(keyListener, address), slog.Any(keyErr, err))
}

// UnlistedSocket says that the service has a socket that the file does not list.
func (s *Service) UnlistedSocket(address string) {
	s.write(slog.LevelWarn, "socket served that the configuration does not list", messageID(idStraySocket),
		slog.String(keyListener, address), slog.String(keyHint, hintUnlisted))
}

// ParkedSocket says that the service is gone and its socket is kept.
func (s *Service) ParkedSocket(address string) {
	s.write(slog.LevelWarn, "socket of a removed service kept, its clients wait", messageID(idStraySocket),
		slog.String(keyListener, address), slog.String(keyHint, hintParked))
}

// SubnetsUnknown says that the machine's networks could not be found out.
func (s *Service) SubnetsUnknown(err error) {
	s.write(slog.LevelWarn, "local-subnets not known, allow holds this machine only and deny everybody", slog.Any(keyErr, err))
}

var acceptFails = event{"accept failed", slog.LevelError, usualBurst}

// AcceptFailed says that clients wait because the system cannot take them.
func (s *Service) AcceptFailed(address string, err error) {
	if s.limited(acceptFails) {
		s.write(slog.LevelError, "accept failed, clients wait", messageID(idAcceptFails),
			slog.String(keyListener, address), slog.Any(keyErr, err))
	}
}

// Refused says that a client was not let in. err says more of the reason, or is nil.
func (s *Service) Refused(listener string, p view.Peer, reason Reason, err error) {
	if !s.limited(event{"refused " + reason.String(), slog.LevelWarn, usualBurst}) {
		return
	}
	cause := slog.Attr{}
	if err != nil {
		cause = slog.Any(keyErr, err)
	}
	s.write(slog.LevelWarn, "connection refused", messageID(idRefused), slog.String(keyListener, listener),
		peer(p, s.log.peers), slog.String(keyReason, reason.String()), cause)
}

// Closed writes the one record of a connection, which ended now, with err. A
// record of its beginning would tell nothing more, and a health check every second
// would fill the journal of a board with two of them.
func (s *Service) Closed(c view.Conn, err error) {
	reason := EndOf(err)
	level := reasons[reason].level
	if !s.to.Enabled(context.Background(), level) || !s.limited(event{"closed " + reason.String(), level, usualBurst}) {
		return
	}
	message, id := "connection closed", slog.Attr{}
	if reason.Cut() {
		message, id = "connection cut", messageID(idCut)
	}
	cause := slog.Attr{}
	if _, system := errors.AsType[unix.Errno](err); system || reason == EndUnnamed || reason == EndBackendFailed {
		cause = slog.Any(keyErr, err)
	}
	unsent := slog.Attr{}
	if c.Unsent > 0 {
		unsent = slog.Int(keyUnsent, c.Unsent)
	}
	s.write(level, message, id, slog.Uint64(keyConn, c.ID), peer(c.Peer, s.log.peers),
		slog.String(keyReason, reason.String()), cause, slog.String(keyOpened, time.Now().Add(-c.Age).Format(time.RFC3339)),
		slog.Uint64(keyBytesIn, c.In), slog.Uint64(keyBytesOut, c.Out), unsent,
		slog.Uint64(keyDropped, c.Dropped), slog.Int64(keyElapsed, c.Age.Microseconds()))
}

var dropped = event{"dropped", slog.LevelWarn, usualBurst}

// Dropped says that overflow took messages of a client that did not read.
func (s *Service) Dropped(conn uint64, p view.Peer, messages, bytes int) {
	if s.limited(dropped) {
		s.write(slog.LevelWarn, "messages dropped", messageID(idDropped), slog.Uint64(keyConn, conn),
			peer(p, s.log.peers), slog.Int(keyDropped, messages), slog.Int(keyDroppedBytes, bytes))
	}
}

var (
	inputDropped  = event{"input dropped", slog.LevelWarn, usualBurst}
	inputReceived = event{"input received", slog.LevelInfo, 50} // the operator has asked for it
)

// InputDropped says that a client's last bytes were no message.
func (s *Service) InputDropped(conn uint64, bytes int, reason Reason) {
	if s.limited(inputDropped) {
		s.write(slog.LevelWarn, inputDropped.name, slog.Uint64(keyConn, conn),
			slog.Int(keyBytes, bytes), slog.String(keyReason, reason.String()))
	}
}

// InputReceived says what a client has sent, in excerpts.
func (s *Service) InputReceived(conn uint64, p []byte) {
	if s.limited(inputReceived) {
		s.write(slog.LevelInfo, inputReceived.name, slog.Uint64(keyConn, conn),
			slog.Int(keyBytes, len(p)), slog.String(keyText, text.Excerpt(p, 64)))
	}
}
