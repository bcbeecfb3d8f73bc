// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/report"
	"penstock/daemon/internal/unit"
)

// After a crash the service is started again at once, so that clients hardly wait. If
// it crashes again and again, it must not use up the processor of the board. From
// version 254 on systemd waits longer each time (RestartSteps= in systemd.service(5)).
// With older versions the process itself waits. It need not know the version: it waits
// until enough time has passed since the last start, and a newer systemd has waited
// that long already.
//
//	starts in the minute before   0-2   3    4    5    6...
//	distance from the last one     0   1 s  2 s  4 s  10 s
//
// The times are kept in the folder of RuntimeDirectory=, which outlives a
// restart and ends with a stop; an end that was asked for removes them.

// monotonic is the clock of these times: the same in every process.
func monotonic() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // cannot fail for this clock
	return time.Duration(ts.Nano())
}

// runtimeFolder is the folder that RuntimeDirectory= of the unit made, or ""
// without one; the first, should there be several (systemd.exec(5)).
func runtimeFolder() string {
	first, _, _ := strings.Cut(os.Getenv("RUNTIME_DIRECTORY"), ":")
	return first
}

const (
	startsFile   = "starts"
	startsWindow = time.Minute
	startsFree   = 3
	startsKept   = 8 // more than fit into the window at the longest distance
)

// distances holds the distance from the last start, by the number of starts above
// startsFree. The longest leaves most of TimeoutStartSec= to the start itself.
var distances = []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 10 * time.Second}

// begin notes the start in the folder, waits if there were too many, and leaves
// the file by which the generated socket units know that the service runs. end is
// to be called with the exit status.
func begin(folder string, log *slog.Logger) (end func(status int)) {
	running := filepath.Join(folder, filepath.Base(unit.Running))
	// If the file cannot be written, as on a full file system, the manager tries to
	// start the sockets and fails, which only costs lines in the journal.
	_ = os.WriteFile(running, nil, 0o600)
	if n, wait := noteStart(folder, monotonic()); wait > 0 {
		report.StartsTooOften(log, n, wait)
		time.Sleep(wait) // SIGTERM ends it: that is not caught yet
	}
	return func(status int) {
		if status == exitOK || status == exitHandedOver {
			forgetStarts(folder)
		}
		_ = os.Remove(running) // the manager removes the folder at a stop
	}
}

// noteStart adds a start at now to those in the folder. It returns how many
// there were in the window before, and how long to wait.
func noteStart(folder string, now time.Duration) (n int, wait time.Duration) {
	path := filepath.Join(folder, startsFile)
	text, _ := os.ReadFile(path) // without it there was no start
	var kept []time.Duration
	for field := range strings.FieldsSeq(string(text)) {
		us, err := strconv.ParseInt(field, 10, 64)
		// A start in the future is one that was stopped while it waited.
		if at := time.Duration(us) * time.Microsecond; err == nil && now-at < startsWindow {
			kept = append(kept, at)
		}
	}
	if n = len(kept); n >= startsFree {
		distance := distances[min(n-startsFree, len(distances)-1)]
		wait = min(max(0, kept[n-1]+distance-now), distance)
	}
	kept = append(kept, now+wait)
	var b strings.Builder
	for _, at := range kept[max(0, len(kept)-startsKept):] {
		fmt.Fprintln(&b, at.Microseconds())
	}
	// If that fails, on a full or read-only file system, the start is forgotten.
	_ = os.WriteFile(path, []byte(b.String()), 0o600)
	return n, wait
}

// forgetStarts removes the list of starts, after an end that was asked for. If
// that fails, the starts in it are soon too old to count.
func forgetStarts(folder string) {
	_ = os.Remove(filepath.Join(folder, startsFile))
}
