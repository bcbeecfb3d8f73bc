// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"penstock/daemon/internal/control"
	"penstock/evloop/evlooptest"
)

// has loads the page until it has text.
func (r *rig) has(t *testing.T, text string) (body string) {
	t.Helper()
	for begun := time.Now(); time.Since(begun) < evlooptest.Patience; {
		if _, body = r.get(t, "/", nil); strings.Contains(body, text) {
			return body
		}
	}
	t.Fatalf("%q is not on the page:\n%s", text, body)
	return ""
}

// TestLatestEvents: what was logged is on the first page; what is logged comes to pages that
// are open, and is on one that is loaded later, the newest first and as text; the list is
// bounded, what is missing is told, and nothing is there twice when it is followed anew.
func TestLatestEvents(t *testing.T) {
	r := newRig(t, "", nil)
	r.site.feed.every = 20 * time.Millisecond
	r.daemon.past = []control.Event{{Time: time.Unix(1e9, 0), Level: "info", Message: "of the past"}}
	if _, body := r.get(t, "/", nil); !strings.Contains(body, "of the past") {
		t.Error(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.URL+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := r.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	r.daemon.log <- control.Events{Events: []control.Event{{
		Time: time.Date(2026, 11, 26, 12, 34, 56, 0, time.Local), Level: "warn", Message: "connection refused",
		Fields: map[string]string{"service": "lobby", "reason": "per_source", "text": "<b>\rx", "message_id": "97e8"},
	}}}
	const row = `<th scope="row">12:34:56</th><td data-label="Service">lobby</td><td data-label="What" class="path">` +
		`<span class="bad">connection refused</span> <small>reason=per_source text=&#34;&lt;b&gt;\rx&#34;</small></td>`
	in := bufio.NewReader(resp.Body)
	for text := ""; !strings.Contains(text, row); {
		text = nextEvent(t, in)
	}
	r.has(t, row)

	var many control.Events
	for i := range mostRecords {
		many.Events = append(many.Events, control.Event{Time: time.Now(), Level: "info", Message: fmt.Sprint("record ", i)})
	}
	r.daemon.log <- many
	body := r.has(t, "record 0<")
	if strings.Contains(body, row) || strings.Index(body, "record 1<") > strings.Index(body, "record 0<") {
		t.Errorf("the list is not the latest, the newest first:\n%s", body)
	}
	r.daemon.set(func() { r.daemon.past = many.Events[2:] })
	r.daemon.log <- control.Events{Missed: 7} // and this daemon ends
	r.has(t, "7 records missed")
	r.daemon.log <- control.Events{Events: []control.Event{{Time: time.Now(), Level: "info", Message: "of the next"}}}
	body = r.has(t, "of the next")
	if strings.Count(body, "record 3<") != 1 {
		t.Errorf("not once is a record that was told twice:\n%s", body)
	}
}

// TestLastWords: the log of a daemon that does not answer any more is still there.
func TestLastWords(t *testing.T) {
	r := newRig(t, "", nil)
	r.site.feed.every = 0
	r.get(t, "/", nil)
	r.daemon.log <- control.Events{Events: []control.Event{{Time: time.Now(), Level: "info", Message: "its last words"}}}
	r.has(t, "its last words")
	r.site.feed.looking.Lock()
	r.site.feed.ask = at(r.daemon.path + "x")
	r.site.feed.looking.Unlock()
	if body := r.has(t, "no daemon runs"); !strings.Contains(body, "its last words") {
		t.Error(body)
	}
}
