// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"time"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/view"
)

// mostStreams is how many pages are kept live at once.
const mostStreams = 32

// writePatience is how long a browser may take for what is sent to it.
const writePatience = 30 * time.Second

// A site answers requests that have passed the gate.
type site struct {
	web       *config.Web
	source    source
	feed      *feed
	ends      map[string]string // of each service, what ends a message
	streams   chan struct{}     // a token for each page that is live
	terminals chan struct{}     // and for each terminal
	lasting   sync.WaitGroup    // terminals, which package http knows nothing of
	idle      *idle
	ending    context.Context // done when the process is to end
	log       *limited
}

func (s *site) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.page)
	mux.HandleFunc("GET /events", s.events)
	mux.HandleFunc("GET /metrics", s.metrics)
	mux.HandleFunc("GET /healthz", s.health)
	mux.HandleFunc("GET /ws/{service}", s.terminal)
	for name, kind := range map[string]string{
		"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml",
	} {
		text, err := fs.ReadFile(assets, "assets/"+name)
		if err != nil {
			panic(err) // part of the program, and tested
		}
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(text))
		})
	}
	return mux
}

func (s *site) page(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(render("page.html", s.feed.get().page)) // a browser that is gone needs nothing
}

// events sends the changing part of the page at each tick, as an event of
// https://html.spec.whatwg.org/multipage/server-sent-events.html.
func (s *site) events(w http.ResponseWriter, r *http.Request) {
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		http.Error(w, "too many pages are open", http.StatusServiceUnavailable)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // of nginx, which would wait for more
	if r.Method == http.MethodHead {
		return // it has no body, and would not end
	}
	pages, leave := s.feed.read()
	defer leave()
	out := http.NewResponseController(w)
	if out.SetReadDeadline(time.Time{}) != nil { // a page stays open for longer than a request may take
		return
	}
	for {
		select {
		case <-r.Context().Done():
			return
		case <-s.ending.Done():
			return
		case p := <-pages:
			if out.SetWriteDeadline(time.Now().Add(writePatience)) != nil {
				return
			}
			if _, err := w.Write(p.event()); err != nil || out.Flush() != nil {
				return
			}
		}
	}
}

// asEvent returns a text as the data of an event, in which each line begins anew. A lone
// carriage return would end a line, too.
func asEvent(text []byte) []byte {
	var b bytes.Buffer
	b.WriteString("event: live\n")
	for line := range bytes.Lines(bytes.ReplaceAll(text, []byte("\r"), nil)) {
		b.WriteString("data: ")
		b.Write(bytes.TrimSuffix(line, []byte("\n")))
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	return b.Bytes()
}

func (s *site) metrics(w http.ResponseWriter, _ *http.Request) {
	p := s.feed.count()
	if p.err != nil {
		http.Error(w, explainError(p.err), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", view.MetricsType)
	_ = p.snapshot.WriteMetrics(w) // a scraper that is gone needs nothing
}

// health says whether clients are served. A daemon that waits for its first client is well.
func (s *site) health(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	p := s.feed.count()
	switch {
	case errors.Is(p.err, errAsleep):
		fmt.Fprintln(w, "ok:", p.err)
	case p.err != nil:
		http.Error(w, explainError(p.err), http.StatusServiceUnavailable)
	case p.snapshot.Phase != "ready" && p.snapshot.Phase != "reloading":
		http.Error(w, p.snapshot.Phase, http.StatusServiceUnavailable)
	case p.snapshot.Refused != "":
		http.Error(w, "the files are not in force: "+p.snapshot.Refused, http.StatusServiceUnavailable)
	case len(p.snapshot.Degraded()) > 0:
		http.Error(w, "degraded: "+strings.Join(p.snapshot.Degraded(), ", "), http.StatusServiceUnavailable)
	default:
		fmt.Fprintln(w, "ok")
	}
}
