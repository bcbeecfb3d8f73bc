// SPDX-License-Identifier: Apache-2.0

package main

import (
	"log/slog"
	"testing"
	"time"
)

// TestStartsKeepADistance plays a process that dies after a tenth of a second, which
// is also what a manager waits that knows no longer waits.
func TestStartsKeepADistance(t *testing.T) {
	folder := t.TempDir()
	now := time.Hour
	var starts []time.Duration
	for range 40 {
		_, wait := noteStart(folder, now)
		now += wait
		starts = append(starts, now)
		now += 200 * time.Millisecond
	}
	if starts[2]-starts[0] > time.Second {
		t.Errorf("the third start came after %v, want at once", starts[2]-starts[0])
	}
	for i := 10; i < len(starts); i++ {
		if d := starts[i] - starts[i-1]; d < 4*time.Second || d > 10*time.Second {
			t.Errorf("start %d came %v after the one before, want 4 s to 10 s", i, d)
		}
	}
	// A minute of peace, and the next crash costs nobody anything again.
	if n, wait := noteStart(folder, now+startsWindow); n != 0 || wait != 0 {
		t.Errorf("a minute later: %d starts, wait %v, want none", n, wait)
	}
}

func TestStartsUnderAManagerThatWaits(t *testing.T) {
	folder := t.TempDir()
	now := time.Hour
	for i := range 20 {
		if _, wait := noteStart(folder, now); wait > 0 {
			t.Errorf("start %d waits %v after the 10 s of the manager", i, wait)
		}
		now += 10 * time.Second
	}
}

func TestStartsAreForgottenAfterAnEndThatWasAskedFor(t *testing.T) {
	for status, want := range map[int]int{exitOK: 0, exitFailed: 1, exitConfig: 1} {
		folder := t.TempDir()
		end := begin(folder, slog.New(slog.DiscardHandler))
		end(status)
		if n, _ := noteStart(folder, monotonic()); n != want {
			t.Errorf("after an end with status %d: %d starts, want %d", status, n, want)
		}
	}
}

// TestStartThatIsKilledWhileItWaits: it waits again, and not for ever longer.
func TestStartThatIsKilledWhileItWaits(t *testing.T) {
	folder := t.TempDir()
	now := time.Hour
	for i := range 40 {
		_, wait := noteStart(folder, now)
		if longest := distances[len(distances)-1]; wait > longest || i > 6 && wait < longest/2 {
			t.Errorf("start %d waits %v, want 5 s to 10 s", i, wait)
		}
		now += 100 * time.Millisecond
	}
}

// TestRuntimeFolder: RuntimeDirectory= may list folders; the unit's first is ours.
func TestRuntimeFolder(t *testing.T) {
	for _, tt := range []struct{ variable, want string }{
		{"", ""},
		{"/run/penstock/private", "/run/penstock/private"},
		{"/run/first:/run/second", "/run/first"},
	} {
		t.Setenv("RUNTIME_DIRECTORY", tt.variable)
		if got := runtimeFolder(); got != tt.want {
			t.Errorf("with %q: %q, want %q", tt.variable, got, tt.want)
		}
	}
}
