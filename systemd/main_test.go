// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"fmt"
	"os"
	"testing"

	"penstock/systemd/sdtest"
)

// The test binary plays three processes: the test, a shim that sets LISTEN_PID
// to its own number and executes, and the activated program.
func TestMain(m *testing.M) {
	switch os.Getenv("SYSTEMD_TEST_ROLE") {
	case "shim":
		os.Setenv("SYSTEMD_TEST_ROLE", "activated")
		fmt.Fprintln(os.Stderr, sdtest.Exec("/proc/self/exe", nil, 3, "tcp", "chat", "pipe"))
		os.Exit(1)
	case "activated":
		activated()
	default:
		os.Exit(m.Run())
	}
}
