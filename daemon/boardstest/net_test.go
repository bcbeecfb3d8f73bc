// SPDX-License-Identifier: Apache-2.0

package boardstest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// brokerAddress is where the boards find the broker.
const brokerAddress = "10.9.0.1"

// newNetwork makes the namespace of the broker, with the bridge, and returns its name.
func newNetwork(t *testing.T) string {
	t.Helper()
	hub := newNamespace(t, "hub")
	ip(t, "-n "+hub+" link add hub type bridge")
	ip(t, "-n "+hub+" addr add "+brokerAddress+"/24 dev hub")
	ip(t, "-n "+hub+" link set hub up")
	return hub
}

// newBoardNetwork joins the namespace of a board to the bridge, and returns its name. The
// port of the bridge has the name of the board.
func newBoardNetwork(t *testing.T, hub, board string, index int) string {
	t.Helper()
	name := newNamespace(t, board)
	ip(t, "link add eth0 netns "+name+" type veth peer name "+port(board)+" netns "+hub)
	ip(t, "-n "+hub+" link set "+port(board)+" master hub up")
	ip(t, fmt.Sprintf("-n %s addr add 10.9.0.%d/24 dev eth0", name, index+2))
	ip(t, "-n "+name+" link set eth0 up")
	return name
}

// port returns the name of a board's port of the bridge.
func port(board string) string { return "port-" + board }

func newNamespace(t *testing.T, role string) string {
	t.Helper()
	name := fmt.Sprintf("penstock-boards-%s-%d", role, os.Getpid())
	ip(t, "netns add "+name)
	t.Cleanup(func() { ip(t, "netns del "+name) })
	ip(t, "-n "+name+" link set lo up")
	return name
}

func ip(t *testing.T, line string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", line, err, out)
	}
}
