// SPDX-License-Identifier: Apache-2.0

package service

import (
	"os"
	"testing"

	"penstock/evloop/evlooptest"

	"penstock/daemon/internal/process"
)

// The test binary is also the program that the handler tests run.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case process.LaunchCommand:
			os.Exit(process.Launch(os.Args[2:]))
		case "program":
			testProgram()
			return
		}
	}
	os.Exit(evlooptest.Main(m))
}
