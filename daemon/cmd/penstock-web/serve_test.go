// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"penstock/daemon/internal/view"
	"penstock/evloop/evlooptest"
)

func contextOf(r *http.Request, peer view.Peer) context.Context {
	return context.WithValue(r.Context(), peerKey{}, peer)
}

// TestPage: without a script the page has everything, and what a peer could have named is
// text in it.
func TestPage(t *testing.T) {
	r := newRig(t, "services = ['lobby']\n", nil)
	r.daemon.set(func() {
		r.daemon.services[1].Source.Name = `<script>alert("x")</script>`
	})
	resp, body := r.get(t, "/", nil)
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("%d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	for _, want := range []string{
		">lobby <", "127.0.0.1:7000", "4.0 KiB", "<code>per_source</code> too many connections from there",
		"3 overrun", "uid 0 pid 0", "&lt;script&gt;", `data-terminal="lobby"`, `data-end="&#34;\n&#34;"`, "version 7.8, pid 4711",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, bad := range []string{"<script>alert", `data-terminal="gps"`, "ZgotmplZ"} {
		if strings.Contains(body, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	checkSources(t, body)
}

// checkSources: nothing of the page is inline or of another host, which its policy would
// refuse.
func checkSources(t *testing.T, body string) {
	t.Helper()
	if m := regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|<script>`).FindString(body); m != "" {
		t.Errorf("%q is inline", m)
	}
	for _, m := range regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(body, -1) {
		if !strings.HasPrefix(m[1], "/") && !strings.HasPrefix(m[1], "#") || strings.HasPrefix(m[1], "//") {
			t.Errorf("the page refers to %s", m[1])
		}
	}
}

// TestFiles: what the page refers to is there.
func TestFiles(t *testing.T) {
	r := newRig(t, "", nil)
	_, body := r.get(t, "/", nil)
	for _, m := range regexp.MustCompile(`(?:src|href)="(/[^"]*)"`).FindAllStringSubmatch(body, -1) {
		if resp, text := r.get(t, m[1], nil); resp.StatusCode != 200 || text == "" {
			t.Errorf("%s: %d", m[1], resp.StatusCode)
		}
	}
	if resp, _ := r.get(t, "/favicon.ico", nil); resp.StatusCode != 404 {
		t.Errorf("what is not there: %d", resp.StatusCode)
	}
}

// nextEvent returns the data of the next event.
func nextEvent(t *testing.T, in *bufio.Reader) string {
	t.Helper()
	var data strings.Builder
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		switch rest, ok := strings.CutPrefix(line, "data: "); {
		case ok:
			data.WriteString(rest)
		case line == "\n":
			return data.String()
		}
	}
}

// TestEvents: a page that is open gets what is new, with rates, and the daemon is asked
// only as long as one is.
func TestEvents(t *testing.T) {
	r := newRig(t, "", nil)
	r.site.feed.every = 20 * time.Millisecond
	ctx, leave := context.WithTimeout(t.Context(), evlooptest.Patience)
	defer leave()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := r.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if kind := resp.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Fatal(kind)
	}
	in := bufio.NewReader(resp.Body)
	if first := nextEvent(t, in); !strings.Contains(first, ">lobby <") || strings.Contains(first, "<html") {
		t.Fatalf("the first event is\n%s", first)
	}
	r.daemon.set(func() {
		r.daemon.services[0].Bytes.In += 1 << 30
		r.daemon.status.Phase = "reloading"
	})
	for text := ""; !strings.Contains(text, "reloading"); {
		text = nextEvent(t, in)
	}
	leave()
	r.site.feed.asking.Wait() // for ever, if it went on
	if n := len(r.site.feed.readers); n != 0 {
		t.Errorf("%d readers are left", n)
	}
	if _, _, known := r.site.feed.past.now("lobby"); !known {
		t.Error("the rate is not known after several looks")
	}
}

// TestMetrics: the same text as of penstock metrics, with a type that Prometheus takes.
func TestMetrics(t *testing.T) {
	r := newRig(t, "", nil)
	resp, body := r.get(t, "/metrics", nil)
	var want strings.Builder
	if err := r.daemon.status.Snapshot(r.daemon.services).WriteMetrics(&want); err != nil {
		t.Fatal(err)
	}
	if resp.Header.Get("Content-Type") != view.MetricsType || body != want.String() {
		t.Errorf("%s\n%s", resp.Header.Get("Content-Type"), body)
	}
}

// TestHealth: well is who serves all that the file lists, or waits for the first client.
func TestHealth(t *testing.T) {
	r := newRig(t, "", nil)
	r.site.feed.every = 0 // each asks anew
	check := func(what string, want int) {
		t.Helper()
		if resp, body := r.get(t, "/healthz", nil); resp.StatusCode != want {
			t.Errorf("%s: %d %s", what, resp.StatusCode, body)
		}
	}
	check("ready", 200)
	r.daemon.set(func() { r.daemon.status.Phase = "stopping" })
	check("stopping", 503)
	r.daemon.set(func() {
		r.daemon.status.Phase = "ready"
		r.daemon.services[0].Missing = []string{"127.0.0.1:7000"}
	})
	check("degraded", 503)
	r.daemon.set(func() {
		r.daemon.services[0].Missing = nil
		r.daemon.status.Refused = "a.toml:1: no"
	})
	check("a file that is not in force", 503)
	calls := r.daemon.calls.Load()
	r.site.feed.ask.asleep = func(string) bool { return true }
	check("asleep", 200)
	if r.daemon.calls.Load() != calls {
		t.Error("a daemon that sleeps was asked")
	}
	r.site.feed.ask = at(r.daemon.path + "x")
	check("away", 503)
}

// TestSharedLook: those who have waited while the daemon was asked take what came of it,
// also an error, and do not ask again one after the other. A page has more than what is
// counted.
func TestSharedLook(t *testing.T) {
	r := newRig(t, "", nil)
	f := r.site.feed
	f.every = 0 // nothing is fresh
	status := func(path string, want int) {
		t.Helper()
		if resp, body := r.get(t, path, nil); resp.StatusCode != want {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	later := time.Now().Add(time.Hour) // so whoever asks has waited
	good := f.ask
	f.ask = at(r.daemon.path + "x")
	status("/healthz", 503)
	f.counts.ended = later
	f.ask = good
	calls := r.daemon.calls.Load()
	status("/healthz", 503)
	status("/metrics", 503)
	if n := r.daemon.calls.Load(); n != calls {
		t.Errorf("the daemon was asked %d times", n-calls)
	}
	status("/", 200) // needs more
	f.whole.ended = later
	calls = r.daemon.calls.Load()
	status("/healthz", 200)
	status("/metrics", 200)
	status("/", 200)
	if n := r.daemon.calls.Load(); n != calls {
		t.Errorf("the daemon was asked %d times", n-calls)
	}
}

// TestErrorPage: if the daemon does not answer, the page says why.
func TestErrorPage(t *testing.T) {
	r := newRig(t, "", nil)
	r.site.feed.ask = at(r.daemon.path + "x")
	r.site.feed.every = time.Hour
	if resp, body := r.get(t, "/", nil); resp.StatusCode != 200 || !strings.Contains(body, "no daemon runs") {
		t.Errorf("%d\n%s", resp.StatusCode, body)
	}
	r.site.feed.ask = at(r.daemon.path) // and when it does, not what was so before
	if _, body := r.get(t, "/", nil); !strings.Contains(body, "lobby") {
		t.Errorf("a daemon that runs\n%s", body)
	}
}

// TestIdle: the process leaves when nobody has asked for a while, and not while somebody
// does.
func TestIdle(t *testing.T) {
	i := newIdle(time.Hour)
	release := i.hold()
	i.end() // the timer, which had fired when it was stopped
	select {
	case <-i.done:
		t.Fatal("it leaves while a terminal is open")
	default:
	}
	i.after = time.Millisecond
	release()
	select {
	case <-i.done:
	case <-time.After(evlooptest.Patience):
		t.Fatal("it stays")
	}
	i.end() // once more does no harm
}

// TestHistory: a rate is the difference of two looks, a counter that begins anew has none,
// and a plot has a gap where nobody looked.
func TestHistory(t *testing.T) {
	h := history{}
	start := time.Unix(1e9, 0)
	see := func(after time.Duration, in uint64) {
		h.add(&picture{at: start.Add(after), snapshot: &view.Snapshot{Services: []view.Service{{Name: "a", Bytes: view.Traffic{In: in}}}}})
	}
	rate := func(want float64, wantKnown bool) {
		t.Helper()
		if in, _, known := h.now("a"); in != want || known != wantKnown {
			t.Errorf("the rate is %v, %v; want %v, %v", in, known, want, wantKnown)
		}
	}
	see(0, 100)
	rate(0, false)
	see(2*time.Second, 300)
	rate(100, true)
	see(4*time.Second, 0)
	rate(0, false)
	see(6*time.Second, 20)
	rate(10, true)
	see(time.Minute, 20)
	rate(0, false)
	see(time.Minute+2*time.Second, 20)
	line, area, most := h.plot("a", start.Add(time.Minute+2*time.Second))
	if most != 100 || strings.Count(line, "M") != 3 || strings.Count(area, "Z") != 3 {
		t.Errorf("the plot is %q, %q, up to %v", line, area, most)
	}
	see(span+time.Hour, 20)
	if n := len(h["a"]); n != 1 {
		t.Errorf("%d points are kept", n)
	}
	h.add(&picture{at: start.Add(2 * time.Hour), snapshot: &view.Snapshot{}})
	if len(h) != 0 {
		t.Error("a service that is gone is kept")
	}
}
