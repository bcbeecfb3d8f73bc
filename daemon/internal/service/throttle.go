// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"log/slog"
	"time"

	"penstock/evloop"
)

// A throttle bounds the records that a peer or a program can cause: so many in
// a window, and the first one after that says how many were left out. It has no
// timer, so that a service that is silent again does not wake up to say so. A
// caller that knows that no further record will come calls flush.
type throttle struct {
	log    *slog.Logger
	now    func() evloop.Time
	burst  int
	window time.Duration

	began        evloop.Time
	passed, held int
}

func newThrottle(env Env, burst int) throttle {
	return throttle{log: env.Log, now: env.Loop.Now, burst: burst, window: 10 * time.Second}
}

// record writes one record, or counts it. message is a constant.
func (t *throttle) record(level slog.Level, message string, attrs ...slog.Attr) {
	if !t.log.Enabled(context.Background(), level) {
		return
	}
	if now := t.now(); t.passed == 0 || now.Sub(t.began) >= t.window {
		t.began, t.passed = now, 0
	}
	if t.passed == t.burst {
		t.held++
		return
	}
	t.passed++
	if t.held > 0 {
		attrs = append(attrs, slog.Int("suppressed", t.held))
		t.held = 0
	}
	t.log.LogAttrs(context.Background(), level, message, attrs...)
}

// flush says how many records were left out since the last one.
func (t *throttle) flush(level slog.Level, message string) {
	if t.held > 0 {
		t.log.LogAttrs(context.Background(), level, "messages suppressed",
			slog.String("event", message), slog.Int("suppressed", t.held))
		t.held = 0
	}
}
