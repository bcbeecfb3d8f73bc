// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"penstock/daemon/internal/control"
)

// The latest records of the daemon's log are kept here, for the page:
//
//	first page ─► follow ─► Watch ─► the past, then each record ─► the list; the oldest
//	                 ▲                  │                          goes
//	                 └── the next look ─┘ the daemon has ended
//
// It goes on until this process ends, also while no page is open: the daemon is woken by
// nothing but a record. To ask for the past at each look was the alternative. Then each
// look would carry what is known already.

const (
	// mostRecords is how many are kept, and shown: more than a daemon keeps.
	mostRecords = 40
	// longestText is how much of a record is shown, in letters.
	longestText = 400
)

// A logRecord is a record of the log, or what is to be known about its neighbours.
type logRecord struct {
	Number  int // for its row
	At      time.Time
	Level   string // of the daemon; "": it is not the daemon's
	Service string
	Message string
	Text    string // the other fields
}

// Bad reports whether somebody should look at it.
func (r logRecord) Bad() bool { return r.Level == "warn" || r.Level == "error" }

// Time returns when it was, for a list whose date is known.
func (r logRecord) Time() string { return r.At.Local().Format("15:04:05") }

// same reports whether the daemon has told a record twice.
func (r logRecord) same(o logRecord) bool {
	return r.At.Equal(o.At) && r.Service == o.Service && r.Message == o.Message && r.Text == o.Text
}

// A logbook keeps the latest records.
type logbook struct {
	mu     sync.Mutex
	list   []logRecord // the oldest first
	number int         // of the last one
	client *control.Client
	ended  bool // it is not to follow any more

	following sync.WaitGroup
}

// follow has the log followed, if it is not, and returns when the past is known. A daemon
// that does not answer is no error here: whoever looks asks it the same, and is told.
func (b *logbook) follow(ask source) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.client != nil || b.ended {
		return
	}
	client, err := ask.dial()
	if err != nil {
		return
	}
	b.client = client
	begun := make(chan struct{})
	begin := sync.OnceFunc(func() { close(begun) })
	b.following.Go(func() {
		// However it ends, the next look begins anew.
		_ = client.Stream(control.Interface+".Watch", control.Watching{Past: true}, 0, func(p json.RawMessage) error {
			defer begin()
			return b.take(p)
		})
		_ = client.Close()
		b.mu.Lock()
		b.client = nil
		b.mu.Unlock()
		begin()
	})
	b.mu.Unlock()
	select {
	case <-begun:
	case <-time.After(patience):
	}
	b.mu.Lock()
}

// take takes a reply of Watch.
func (b *logbook) take(p json.RawMessage) error {
	var got control.Events
	if err := json.Unmarshal(p, &got); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if got.Missed > 0 {
		b.add(logRecord{At: time.Now(), Message: plural(int(got.Missed), "record") + " missed"})
	}
	for _, e := range got.Events {
		if r := recordOf(e); !slices.ContainsFunc(b.list, r.same) { // or it is of the past, and known
			b.add(r)
		}
	}
	return nil
}

func (b *logbook) add(r logRecord) {
	b.number++
	r.Number = b.number
	b.list = append(b.list, r)
	if n := len(b.list) - mostRecords; n > 0 {
		b.list = slices.Delete(b.list, 0, n)
	}
}

// latest returns what is kept, the newest first.
func (b *logbook) latest() []logRecord {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := slices.Clone(b.list)
	slices.Reverse(list)
	return list
}

// end ends what follow has begun.
func (b *logbook) end() {
	b.mu.Lock()
	b.ended = true
	if b.client != nil {
		_ = b.client.Close() // ends the stream
	}
	b.mu.Unlock()
	b.following.Wait()
}

func recordOf(e control.Event) logRecord {
	r := logRecord{At: e.Time, Level: e.Level, Service: e.Fields["service"], Message: cut(e.Message)}
	var fields []string
	for _, key := range slices.Sorted(maps.Keys(e.Fields)) {
		value := e.Fields[key]
		if key == "service" || key == "message_id" {
			continue // the one is shown apart, the other is for the journal
		}
		if value == "" || strings.ContainsFunc(value, needsQuotes) {
			value = strconv.Quote(value)
		}
		fields = append(fields, key+"="+value)
	}
	r.Text = cut(strings.Join(fields, " "))
	return r
}

func needsQuotes(r rune) bool { return r <= ' ' || r == '"' || r == '=' || r == 0x7f }

// cut bounds what is shown.
func cut(s string) string {
	if r := []rune(s); len(r) > longestText {
		return string(r[:longestText]) + "…"
	}
	return s
}
