// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"time"
)

// WatchdogInterval returns how often [Notifier.Watchdog] should be called: a
// third of WATCHDOG_USEC, so that one late ping is no reason to be killed. It
// returns 0 when no watchdog is set or when it watches another process. It
// unsets WATCHDOG_USEC and WATCHDOG_PID, so only the first call counts; call
// it from main, before other goroutines read the environment.
//
// go-systemd's SdWatchdogEnabled reads the microseconds into an int, which
// ends at 35 minutes on 32-bit machines; hence the parser here.
//
// Source: sd_watchdog_enabled(3).
func WatchdogInterval() (time.Duration, error) {
	env := takeEnv("WATCHDOG_USEC", "WATCHDOG_PID")
	d, err := watchdogInterval(env["WATCHDOG_USEC"], env["WATCHDOG_PID"], os.Getpid())
	if err != nil {
		return 0, fmt.Errorf("systemd: watchdog: %w", err)
	}
	return d, nil
}

func watchdogInterval(usec, pid string, self int) (time.Duration, error) {
	if usec == "" {
		return 0, nil
	}
	if pid != "" {
		n, err := strconv.Atoi(pid)
		if err != nil {
			return 0, fmt.Errorf("WATCHDOG_PID is %q, not a process", pid)
		}
		if n != self {
			return 0, nil // inherited from the process that is watched
		}
	}
	n, err := strconv.ParseUint(usec, 10, 64)
	if err != nil || n == 0 || n > math.MaxInt64/1000 {
		return 0, fmt.Errorf("WATCHDOG_USEC is %q, not a time", usec)
	}
	// A millisecond is the least: less would be a busy loop.
	return max(time.Duration(n)*time.Microsecond/3, time.Millisecond), nil
}
