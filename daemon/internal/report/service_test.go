// SPDX-License-Identifier: Apache-2.0

package report

import (
	"log/slog"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/view"
	"penstock/evloop"
)

// TestClosedSaysWhatIsLost: the record of an end has the bytes that it threw away,
// if there were any.
func TestClosedSaysWhatIsLost(t *testing.T) {
	for unsent, want := range map[int]string{0: "bytes_out=2 dropped=4", 70: "bytes_out=2 unsent_bytes=70 dropped=4"} {
		for message, err := range map[string]error{"connection cut": evloop.ErrStalled, "connection closed": nil} {
			var b strings.Builder
			log := New(slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug})), config.PeersFull, newFakeClock())
			log.Service("lobby").Closed(view.Conn{
				ID: 8, Peer: view.Peer{Addr: netip.MustParseAddrPort("192.0.2.1:4000")},
				Traffic: view.Traffic{In: 1, Out: 2}, Dropped: 4, Unsent: unsent,
			}, err)
			if got := b.String(); !regexp.MustCompile(`msg="` + message + `" .* ` + want + ` `).MatchString(got) {
				t.Errorf("%d bytes unsent, %v: logged %q, want %q", unsent, err, got, want)
			}
		}
	}
}
