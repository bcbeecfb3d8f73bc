// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"os"
	"testing"
	"time"
)

// patient bounds what should come at once.
const patient = 10 * time.Second

// The test binary is also the program of TestNewHandlerPicks.
func TestMain(m *testing.M) {
	if os.Getenv("SYSTEMD_TEST_ROLE") == "stderr" {
		logToStderr()
		return
	}
	os.Exit(m.Run())
}
