// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"errors"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/evloop/evlooptest"
)

// TestGrow: the table is grown to what was asked for, or to the limit, and nothing is
// left open.
func TestGrow(t *testing.T) {
	before := len(evlooptest.Descriptors())
	limit := int(softLimit())
	for _, n := range []int{-1, 0, 1, 3000, limit, limit + 1, math.MaxInt} {
		if err := Grow(n); err != nil {
			t.Errorf("Grow(%d) = %v", n, err)
		}
		if got, want := tableSize(t), min(n, limit, 1<<20); got < want {
			t.Errorf("after Grow(%d) the table has %d places", n, got)
		}
	}
	if after := len(evlooptest.Descriptors()); after != before {
		t.Errorf("%d descriptors are open, %d were", after, before)
	}
}

// tableSize returns FDSize of proc_pid_status(5).
func tableSize(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "FDSize:\t")
	line, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(line)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestCookie(t *testing.T) {
	c := forms[0].pairs(t, 1)[0]
	list := cookies(t, []int{c.client, c.server})
	if list[0] == 0 || list[0] == list[1] {
		t.Errorf("cookies %d", list)
	}
	file := get(unix.Eventfd(0, unix.EFD_CLOEXEC))
	defer unix.Close(file)
	if _, err := Cookie(file); !errors.Is(err, unix.ENOTSOCK) || !strings.HasPrefix(err.Error(), "getsockopt: ") {
		t.Errorf("Cookie of no socket: %v", err)
	}
}
