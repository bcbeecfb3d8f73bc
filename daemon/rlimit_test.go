// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"math"
	"runtime/debug"
	"testing"
)

// TestMemoryLimit: the collector's ceiling follows from the configuration, is
// never below what the services hold by design, and is the administrator's
// when he has set one.
func TestMemoryLimit(t *testing.T) {
	const mib = 1 << 20
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	for _, tt := range []struct {
		name, text, env string
		least, most     int64
	}{
		{"the defaults, for a board with 512 MiB", "", "", 44 * mib, 45 * mib},
		{"limits.memory counts in full", "[limits]\nmemory='64MiB'\n", "", 92 * mib, 93 * mib},
		{"and a connection a kibibyte", "[limits]\nconnections=8192\n", "", 48 * mib, 49 * mib},
		{"what a room keeps for newcomers", "[service.r]\nkind='room'\nlisten=['@r']\nhistory=10000\nqueue='16MiB'\n", "", (44 + 16) * mib, (44 + 19) * mib},
		{"the environment's word", "", "100MiB", math.MaxInt64, math.MaxInt64},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("GOMEMLIMIT", tt.env)
			debug.SetMemoryLimit(math.MaxInt64)
			limitMemory(parse(t, tt.text+"[service.e]\nkind='echo'\nlisten=['@e']\n"))
			if got := debug.SetMemoryLimit(-1); got < tt.least || got > tt.most {
				t.Errorf("limit of %d, want %d to %d", got, tt.least, tt.most)
			}
		})
	}
}
