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

	"penstock/daemon"
	"penstock/daemon/internal/unit"
)

// A service that dies is started again at once, so that its clients do not
// wait for one crash. Who dies again and again must not take the processor of
// the board: from 254 on systemd waits longer each time (RestartSteps= in
// systemd.service(5)), before that the process does. It cannot ask which version
// there is, and need not: what it keeps is the distance from the start before.
//
//	starts in the minute before   0-2   3    4    5    6...
//	distance from the last one     0   1 s  2 s  4 s  10 s
//
// The times are kept in the folder of RuntimeDirectory=, which outlives a
// restart and ends with a stop; an end that was asked for removes them.

const (
	startsFile   = "starts"
	startsWindow = time.Minute
	startsFree   = 3
	startsKept   = 8 // more than fit into the window at the longest distance
)

// distances are those from the last start, by the number of starts above
// startsFree. The longest leaves much of TimeoutStartSec= to the start itself.
var distances = []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 10 * time.Second}

// begin notes the start in the folder, waits if there were too many, and has the
// generated socket units know that the service runs. end is to be called with
// the exit status.
func begin(folder string, log *slog.Logger) (end func(status int)) {
	running := filepath.Join(folder, filepath.Base(unit.Running))
	// What a full file system costs here is lines in the journal.
	_ = os.WriteFile(running, nil, 0o600)
	if n, wait := noteStart(folder, monotonic()); wait > 0 {
		daemon.LogStartsTooOften(log, n, wait)
		time.Sleep(wait) // SIGTERM ends it, nothing is caught yet
	}
	return func(status int) {
		if status == exitOK {
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
		// One in the future was ended while it waited.
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
	// A full or read-only file system costs the memory of starts, not the start.
	_ = os.WriteFile(path, []byte(b.String()), 0o600)
	return n, wait
}

// forgetStarts is for an end that was asked for.
func forgetStarts(folder string) {
	_ = os.Remove(filepath.Join(folder, startsFile)) // it is as good as old
}
