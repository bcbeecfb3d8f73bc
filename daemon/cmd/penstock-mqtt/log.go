// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// What a stranger, a device or the network can cause again and again is summed up:
//
//	first ─► written ─► more within 10 s ─► one record with their number ─► …
//	                └─► none ─► forgotten

const (
	// logEvery is how often records that are alike are written.
	logEvery = 10 * time.Second
	// mostAlike is how many kinds of records are told apart.
	mostAlike = 256
)

// limited writes records, of those that are alike few.
type limited struct {
	log *slog.Logger

	mu   sync.Mutex
	rows map[string]*row
}

// A row is of records that are alike.
type row struct {
	message string
	attrs   []slog.Attr
	more    int // since the last record
}

// warn writes a record, or counts it. message is a constant.
func (l *limited) warn(message string, attrs ...slog.Attr) { l.count(message, 1, attrs...) }

// count is warn for n things at once.
func (l *limited) count(message string, n int, attrs ...slog.Attr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := message + fmt.Sprint(attrs)
	if r := l.rows[key]; r != nil {
		r.more += n
		return
	}
	if l.rows == nil {
		l.rows = make(map[string]*row)
	}
	r := &row{message: message, attrs: attrs, more: n}
	if len(l.rows) >= mostAlike {
		key, r.attrs = message, nil
		if old := l.rows[key]; old != nil {
			old.more += n
			return
		}
	}
	l.rows[key] = r
	l.write(r)
	time.AfterFunc(logEvery, func() { l.due(key) })
}

// due writes what has been counted.
func (l *limited) due(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.rows[key]
	if r.more == 0 {
		delete(l.rows, key)
		return
	}
	l.write(r)
	time.AfterFunc(logEvery, func() { l.due(key) })
}

// end writes all that has been counted: nothing comes later.
func (l *limited) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.rows {
		if r.more > 0 {
			l.write(r)
		}
	}
}

func (l *limited) write(r *row) {
	attrs := append([]slog.Attr{slog.Int("times", r.more)}, r.attrs...)
	r.more = 0
	l.log.LogAttrs(context.Background(), slog.LevelWarn, r.message, attrs...)
}
