// SPDX-License-Identifier: Apache-2.0

package sample

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of /proc/stat. USER_HZ is 100 on every architecture that Go
// runs Linux on.
const tick = time.Second / 100

// Host is what all CPUs together have done since boot.
type Host struct {
	Busy   time.Duration // everything but idle and waiting for a disk
	Stolen time.Duration // wanted by us, but the hypervisor ran another guest
}

// Sub returns what was done between the reading before and h.
func (h Host) Sub(before Host) Host {
	return Host{h.Busy - before.Busy, h.Stolen - before.Stolen}
}

// ReadHost reads the first line of /proc/stat:
//
//	cpu  user nice system idle iowait irq softirq steal guest guest_nice
func ReadHost() (Host, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return Host{}, fmt.Errorf("read host: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return Host{}, fmt.Errorf("parse /proc/stat: %q", line)
	}
	var h Host
	for i, f := range fields[1:9] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return Host{}, fmt.Errorf("parse /proc/stat: %w", err)
		}
		switch i {
		case 3, 4: // idle, iowait
		case 7:
			h.Stolen += time.Duration(n) * tick
			fallthrough // stolen time is load of others as well
		default:
			h.Busy += time.Duration(n) * tick
		}
	}
	return h, nil
}

// Foreign returns the share of one CPU that neither of the processes used
// during the window: neighbours on the machine or on its hypervisor, which take
// caches and CPU time from the servers under test. 0.15 is 15 % of one CPU.
func Foreign(h Host, window time.Duration, ours ...Usage) float64 {
	if window <= 0 {
		return 0
	}
	rest := h.Busy
	for _, u := range ours {
		rest -= u.CPU
	}
	return max(0, float64(rest)/float64(window))
}
