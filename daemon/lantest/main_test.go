// SPDX-License-Identifier: Apache-2.0

package lantest

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"penstock/evloop/evlooptest"
	"penstock/systemd/sdtest"
)

var binary = flag.String("penstock", "", "the binary to test; without it every test is skipped")

// patience is for what should take milliseconds: a busy machine is not a hang.
const patience = evlooptest.Patience

// childEnv makes the test binary what systemd is between fork and exec. Its
// value is the names of the sockets.
const childEnv = "LANTEST_SOCKETS"

func TestMain(m *testing.M) {
	if names, ok := os.LookupEnv(childEnv); ok {
		os.Unsetenv(childEnv)
		list := strings.Split(names, ":")
		fmt.Fprintln(os.Stderr, sdtest.Exec(os.Args[1], os.Args[2:], len(list), list...))
		os.Exit(127)
	}
	flag.Parse()
	os.Exit(m.Run())
}

// need skips the test where it cannot run.
func need(t *testing.T) {
	t.Helper()
	if *binary == "" {
		t.Skip("no -penstock; use make lan-test")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip(err)
	}
}
