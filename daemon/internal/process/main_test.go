// SPDX-License-Identifier: Apache-2.0

package process

import (
	"os"
	"testing"

	"penstock/evloop/evlooptest"
)

// The test binary is also the process in which a program is started.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == LaunchCommand {
		os.Exit(Launch(os.Args[2:]))
	}
	os.Exit(evlooptest.Main(m))
}
