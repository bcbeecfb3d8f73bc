// SPDX-License-Identifier: Apache-2.0

package unit

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestRestartKeepsConnections: the packaged unit has each line that a restart with
// connections needs, as the manual lists them, and no key that an old systemd would
// complain about.
func TestRestartKeepsConnections(t *testing.T) {
	unit := readFile(t, "../../../packaging/units/"+Service)
	lines := slices.Collect(strings.Lines(unit))
	want := []string{
		"FileDescriptorStoreMax=4", "RestartKillSignal=SIGINT", "RestartForceExitStatus=75", "SuccessExitStatus=75",
		"StartLimitIntervalSec=0", "NotifyAccess=main", "TimeoutStopSec=30s",
	}
	for _, line := range want {
		if !slices.Contains(lines, line+"\n") {
			t.Errorf("%s does not have %s", Service, line)
		}
	}
	if strings.Contains(unit, "FileDescriptorStorePreserve") {
		t.Errorf("%s has a key that systemd knows from 254 on", Service)
	}

	_, section, _ := strings.Cut(readFile(t, "../../man/penstock.8"), "\n.Ss The unit and a restart\n")
	section, _, _ = strings.Cut(section, "\n.Ss ")
	var listed []string
	for _, item := range regexp.MustCompile(`(?m)^\.It Cm (.*)$`).FindAllStringSubmatch(section, -1) {
		listed = append(listed, strings.Split(item[1], " , ")...)
	}
	if !slices.Equal(listed, want) {
		t.Errorf("penstock(8) lists %q, want %q", listed, want)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
