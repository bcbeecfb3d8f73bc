// SPDX-License-Identifier: Apache-2.0

package device

import (
	"strings"
	"testing"
	"time"

	"penstock/daemon/internal/tty"
	"penstock/evloop"
	"penstock/evloop/evlooptest"
)

// TestDiscarded: what the driver discards at a stop, or for other settings, is counted and
// logged before the device is said to have ended. A pseudo-terminal has no driver that
// keeps anything.
func TestDiscarded(t *testing.T) {
	const bytes = 1234
	drain = func(int, time.Duration) int { return bytes }
	t.Cleanup(func() { drain = tty.Drain })
	_, slave := evlooptest.PTY(t)
	r := serve(t, evloop.Config{}, Options{Path: slave, Write: true})
	r.until("the device", func() bool { return r.ups == 1 })
	other := usual
	other.Speed = 19200
	r.do(func() { r.dev.Renew(Options{Path: slave, Write: true, TTY: other}) })
	r.until("the device in another way", func() bool { return r.ups == 2 })
	r.stop()
	r.do(func() {
		if got := r.dev.Unsent(); got != 2*bytes {
			t.Errorf("%d bytes were not sent, want %d", got, 2*bytes)
		}
	})
	const want = `msg="device closed with output not sent" service=x device=`
	if n := strings.Count(r.logged(), want+slave+" unsent_bytes=1234\n"); n != 2 {
		t.Errorf("%d records of 1234 bytes, want 2:\n%s", n, r.logged())
	}
}
