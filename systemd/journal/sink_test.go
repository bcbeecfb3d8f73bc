// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A gate is a transport whose room the test decides.
type gate struct {
	room   int   // sends that succeed; -1 means all
	err    error // otherwise; nil means errLater
	part   int   // if not 0, a send takes at most that many bytes
	got    strings.Builder
	waits  int
	closed bool
}

func (g *gate) send(p []byte) (int, error) {
	if g.room == 0 {
		if g.err != nil {
			return 0, g.err
		}
		return 0, errLater
	}
	g.room--
	n := len(p)
	if g.part > 0 {
		n = min(n, g.part)
	}
	g.got.Write(p[:n])
	return n, nil
}

func (g *gate) wait(time.Time) bool {
	g.waits++
	g.room = 1
	return g.waits < 100
}

func (g *gate) close() error {
	g.closed = true
	return nil
}

// gated returns a logger of plain lines with a gate behind it.
func gated(g *gate, waiting func()) (*slog.Logger, *Sink) {
	h := &handler{level: slog.LevelInfo, format: formatPlain}
	h.sink = &Sink{form: h, out: g, waiting: waiting}
	return slog.New(h), h.sink
}

// TestSinkKeepsOrder: records that wait go first, and one call of Waiting says that
// there are some.
func TestSinkKeepsOrder(t *testing.T) {
	g, signals := &gate{room: 1}, 0
	l, sink := gated(g, func() { signals++ })
	for i := range 4 {
		l.Info("m" + strconv.Itoa(i))
	}
	if got := g.got.String(); got != "info m0\n" {
		t.Errorf("before: %q", got)
	}
	if n := sink.Flush(); n != 3 || signals != 1 {
		t.Errorf("%d wait, %d signals, want 3, 1", n, signals)
	}
	g.room = 2
	l.Info("m4")
	if got := g.got.String(); got != "info m0\ninfo m1\ninfo m2\n" {
		t.Errorf("room for two: %q", got)
	}
	g.room = -1
	if n := sink.Flush(); n != 0 {
		t.Errorf("%d still wait", n)
	}
	if got := g.got.String(); !strings.HasSuffix(got, "info m3\ninfo m4\n") {
		t.Errorf("after: %q", got)
	}
	g.room = 0
	l.Info("m5")
	if signals != 2 {
		t.Errorf("%d signals, want a second one after the queue was empty", signals)
	}
}

// TestSinkCountsWhatItDrops: the queue is bounded, the first records survive,
// and the count stands where the records are missing.
func TestSinkCountsWhatItDrops(t *testing.T) {
	g := &gate{}
	l, sink := gated(g, nil)
	const n = maxQueueRecords + 500
	for i := range n {
		l.Info("m", "i", i)
	}
	if got := sink.Flush(); got != maxQueueRecords+1 {
		t.Errorf("%d wait, want %d and the notice", got, maxQueueRecords)
	}
	// A reader that takes a few records now and then does not end the loss.
	g.room = maxQueueRecords / 4
	l.Info("m", "i", n)
	// A reader that takes more than half of the queue ends it.
	g.room = maxQueueRecords / 2
	l.Info("m", "i", n+1)
	g.room = -1
	l.Info("m", "i", n+2)

	want := make([]string, 0, maxQueueRecords+3)
	for i := range maxQueueRecords {
		want = append(want, "info m i="+strconv.Itoa(i))
	}
	want = append(want, "warn log messages dropped dropped=501",
		fmt.Sprint("info m i=", n+1), fmt.Sprint("info m i=", n+2), "")
	if got := strings.Split(g.got.String(), "\n"); !slices.Equal(got, want) {
		t.Errorf("got %d lines, the last %q, want %d, the last %q", len(got), got[len(got)-5:], len(want), want[len(want)-5:])
	}
}

// TestSinkBoundsBytes: few large records reach the bound as well as many
// small ones, and memory is given back afterwards.
func TestSinkBoundsBytes(t *testing.T) {
	g := &gate{}
	l, sink := gated(g, nil)
	for range 200 {
		l.Info(strings.Repeat("m", 4000))
	}
	if sink.queue.bytes > maxQueueBytes || sink.queue.len() >= 200 {
		t.Errorf("%d records of %d bytes wait", sink.queue.len(), sink.queue.bytes)
	}
	g.room = -1
	sink.Flush()
	if sink.queue.list != nil || sink.queue.bytes != 0 {
		t.Errorf("an empty queue holds %d slots, %d bytes", cap(sink.queue.list), sink.queue.bytes)
	}
}

// TestSinkRefused: a record that can never go is counted, not tried for ever.
func TestSinkRefused(t *testing.T) {
	g := &gate{err: unix.EINVAL}
	l, sink := gated(g, nil)
	l.Info("a")
	l.Info("b")
	g.room = -1
	if n := sink.Flush(); n != 0 {
		t.Errorf("%d still wait", n)
	}
	l.Info("c")
	got := g.got.String()
	if !strings.HasSuffix(got, "info c\n") || strings.Contains(got, "info a") || !strings.Contains(got, "log messages dropped") {
		t.Errorf("got %q", got)
	}
}

// TestSinkBroken: a transport that never takes anything is not waited for, not at
// the end either, and the count of what was lost goes with the first record
// that does.
func TestSinkBroken(t *testing.T) {
	g, signals := &gate{}, 0
	l, sink := gated(g, func() { signals++ })
	for range maxQueueRecords + 2 {
		l.Info("waits for room")
	}
	g.room = maxQueueRecords
	sink.Flush()
	l.Info("behind a notice of two") // which waits with it
	g.room, g.err = 0, unix.EPIPE
	g.got.Reset()
	l.Info("a")
	signals = 0
	l.Info("b")
	if n := sink.Flush(); n != 0 || signals != 0 {
		t.Errorf("%d wait for a broken pipe, %d signals", n, signals)
	}
	g.room = -1
	l.Info("c")
	if got, want := g.got.String(), "warn log messages dropped dropped=5\ninfo c\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	g.room = 0
	l.Info("d")
	if n := sink.Close(patient); n != 1 || g.waits > 0 {
		t.Errorf("Close() = %d after %d waits, want 1 lost and no wait", n, g.waits)
	}
}

// TestSinkKeepsLinesWhole: a stream may take a part of a line; the rest
// follows before anything else.
func TestSinkKeepsLinesWhole(t *testing.T) {
	g := &gate{room: 2, part: 5}
	l, sink := gated(g, nil)
	l.Info("first")
	l.Info("second")
	if got := g.got.String(); got != "info first"[:10] {
		t.Errorf("got %q", got)
	}
	g.room = -1
	for sink.Flush() > 0 {
	}
	if got := g.got.String(); got != "info first\ninfo second\n" {
		t.Errorf("got %q", got)
	}
}

func TestSinkClose(t *testing.T) {
	g := &gate{}
	l, sink := gated(g, nil)
	l.Info("a")
	l.Info("b")
	if n := sink.Close(patient); n != 0 || !g.closed || g.got.String() != "info a\ninfo b\n" {
		t.Errorf("Close() = %d, closed %v, got %q", n, g.closed, g.got.String())
	}
	l.Info("after the end")
	if n := sink.Flush() + sink.Close(0); n != 0 || strings.Contains(g.got.String(), "after") {
		t.Errorf("a closed Sink holds %d, got %q", n, g.got.String())
	}

	full := &gate{waits: 1000}
	l, sink = gated(full, nil)
	l.Info("a")
	if n := sink.Close(0); n != 1 || !full.closed {
		t.Errorf("no room: Close() = %d, want 1 left", n)
	}
}
