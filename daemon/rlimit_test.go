// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"io"
	"math"
	"net"
	"runtime/debug"
	"strings"
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

// TestPipeliningFitsMemory: clients that send thousands of short lines at once, and
// read what comes back, do not pay for what waits to be served.
func TestPipeliningFitsMemory(t *testing.T) {
	const clients, lines = 40, 30000
	for _, backend := range []string{"epoll", "io_uring"} {
		path := t.TempDir() + "/s"
		r := runDaemon(t, parse(t, fmt.Sprintf("[limits]\nmemory = '1MiB'\n[loop]\nbackend = '%s'\n"+
			"[service.x]\nkind = 'lookup'\nlisten = ['%s']\nanswers = { q = 'a' }\n", backend, path)))
		var conns []net.Conn
		for range clients {
			c, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			conns = append(conns, c)
		}
		r.do(func() { // all is there when the loop reads
			for _, c := range conns {
				if _, err := io.WriteString(c, strings.Repeat("q\n", lines)); err != nil {
					t.Error(err)
				}
			}
		})
		for i, c := range conns {
			got := make([]byte, lines)
			if n, err := io.ReadFull(c, got); err != nil {
				t.Errorf("%s: client %d got %d answers of %d, %v", backend, i, n, lines, err)
			}
		}
		r.stop(t)
	}
}
