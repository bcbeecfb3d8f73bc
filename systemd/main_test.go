// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"penstock/systemd/sdtest"
)

// The test binary plays three processes: the test, a shim that sets LISTEN_PID
// to its own number and executes, and the activated program. For a restart it also
// plays the process before, which stores what the activated one gets.
func TestMain(m *testing.M) {
	switch os.Getenv("SYSTEMD_TEST_ROLE") {
	case "shim":
		os.Setenv("SYSTEMD_TEST_ROLE", "activated")
		names := strings.Split(os.Getenv("SYSTEMD_TEST_NAMES"), ":")
		fmt.Fprintln(os.Stderr, sdtest.Exec("/proc/self/exe", nil, len(names), names...))
		os.Exit(1)
	case "activated":
		activated()
	case "stores":
		stores()
	default:
		os.Exit(m.Run())
	}
}
