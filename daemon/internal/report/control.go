// SPDX-License-Identifier: Apache-2.0

package report

import (
	"log/slog"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/text"
	"penstock/daemon/internal/view"
)

// What somebody does by the control socket is logged with the user and the process,
// whatever log.peers says: that is for clients. The service of these records is "control".

// longestParameters bounds what is logged of an act's parameters.
const longestParameters = 200

var (
	acted  = event{"administrator acts", slog.LevelInfo, 50}
	denied = event{"act denied", slog.LevelWarn, usualBurst}
)

// Acted says that somebody has done something. It is limited too, since the daemon's own
// user may reload, and programs of handlers run as that.
func (s *Service) Acted(method string, by view.Peer, parameters []byte) {
	if !s.limited(acted) {
		return
	}
	given := slog.Attr{}
	if len(parameters) > 0 {
		given = slog.String(keyText, text.Excerpt(parameters, longestParameters))
	}
	s.write(slog.LevelInfo, acted.name, slog.String(keyMethod, method), peer(by, config.PeersFull), given)
}

// Denied says that somebody may not do that.
func (s *Service) Denied(method string, by view.Peer) {
	if s.limited(denied) {
		s.write(slog.LevelWarn, denied.name, slog.String(keyMethod, method), peer(by, config.PeersFull))
	}
}
