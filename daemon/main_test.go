// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"os"
	"testing"

	"penstock/daemon/internal/process"
	"penstock/evloop/evlooptest"
)

// The test binary is also the process in which a handler's program is started, and one such
// program itself (sim_program_test.go).
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == process.LaunchCommand {
		os.Exit(process.Launch(os.Args[2:]))
	}
	if len(os.Args) == 3 && os.Args[1] == "played" {
		os.Exit(simPlayed(os.Args[2]))
	}
	announceTime = evlooptest.Patience // for a machine that is busy
	os.Exit(evlooptest.Main(m))
}
