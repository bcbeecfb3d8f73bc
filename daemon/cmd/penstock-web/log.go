// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"penstock/daemon/internal/view"
)

// logEvery is how often a record is written that a stranger can cause.
const logEvery = 10 * time.Second

// limited writes what a stranger can cause. What comes too often is only counted.
type limited struct {
	log *slog.Logger

	mu     sync.Mutex
	next   time.Time // no record before
	missed int
}

// warn writes a record, or counts it. message is a constant.
func (l *limited) warn(message string, attrs ...slog.Attr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Before(l.next) {
		l.missed++
		return
	}
	if l.missed > 0 {
		attrs = append(attrs, slog.Int("suppressed", l.missed))
	}
	l.next, l.missed = now.Add(logEvery), 0
	l.log.LogAttrs(context.Background(), slog.LevelWarn, message, attrs...)
}

// refused says whom nothing was shown, and why.
func (l *limited) refused(reason string, peer view.Peer, more ...slog.Attr) {
	l.warn("request refused", append([]slog.Attr{slog.String("reason", reason), slog.String("peer", peer.String())}, more...)...)
}
