// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"log/slog"
	"os"
	"time"
)

// logToStderr is the program of the tests below: it logs with the handler
// that NewHandler picks.
func logToStderr() {
	h, sink := NewHandler(Options{Identifier: "probe", SocketPath: os.Getenv("SYSTEMD_TEST_SOCKET")})
	slog.New(h).Warn("connection refused", "service", "lobby")
	sink.Close(time.Second)
}
