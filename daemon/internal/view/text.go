// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// BytesText writes a number of bytes with at most four digits: "512 B", "1.5 KiB", "12 MiB".
func BytesText(n uint64) string {
	if n < 1024 {
		return strconv.FormatUint(n, 10) + " B"
	}
	v, units := float64(n)/1024, []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	for v >= 1023.5 && len(units) > 1 {
		v, units = v/1024, units[1:]
	}
	format := "%.0f %s"
	if v < 9.95 {
		format = "%.1f %s"
	}
	return fmt.Sprintf(format, v, units[0])
}

// TimeText writes a time with its two largest units: "3m12s", "4d7h", "0s".
func TimeText(d time.Duration) string {
	d = d.Truncate(time.Second)
	if d < 24*time.Hour {
		text := d.String()
		for _, zero := range []string{"0s", "0m"} {
			if before, ok := strings.CutSuffix(text, zero); ok && before != "" && before[len(before)-1] >= 'a' {
				text = before
			}
		}
		if h, rest, ok := strings.Cut(text, "h"); ok { // no seconds beside hours
			m, _, _ := strings.Cut(rest, "m")
			if m == "" || m == "0" || strings.HasSuffix(m, "s") {
				return h + "h"
			}
			return h + "h" + m + "m"
		}
		return text
	}
	days, hours := int(d/(24*time.Hour)), int(d/time.Hour)%24
	if hours == 0 {
		return fmt.Sprintf("%dd", days)
	}
	return fmt.Sprintf("%dd%dh", days, hours)
}
