// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/systemd/sdtest"
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

// TestSinkKeepsOrder: what waits goes first, and one signal says that
// something waits.
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
	// A reader that takes a few now and then does not yet end the loss ...
	g.room = maxQueueRecords / 4
	l.Info("m", "i", n)
	// ... one that takes more than half of the queue does.
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

// TestSinkBroken: where nothing can ever go there is nothing to wait for, not at
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

// TestJournalFull: while journald does not read, nothing waits for it; when
// it reads again, it gets what the queue held, with the times at which it
// happened, and the count of the rest.
func TestJournalFull(t *testing.T) {
	l, sink, j := fakeJournal(t, Options{})
	filled, err := j.Fill()
	if err != nil {
		t.Fatal(err)
	}
	before := time.Now().UnixMicro()
	const n = 3 * maxQueueRecords
	for i := range n {
		l.Info("m", "i", i)
	}
	after := time.Now().UnixMicro()
	var got []sdtest.Entry
	for sink.Flush() > 0 || len(got) == 0 {
		got = append(got, entries(t, j)...)
	}
	got = append(got, entries(t, j)...)
	kept, dropped := 0, 0
	for _, e := range got {
		if d, ok := e.Get("DROPPED"); ok {
			dropped, _ = strconv.Atoi(d)
			if p, _ := e.Get("PRIORITY"); p != "4" || message(e) != "log messages dropped dropped="+d {
				t.Errorf("notice is %q", e.Fields)
			}
			continue
		}
		if i, _ := e.Get("I"); i != strconv.Itoa(kept) {
			t.Fatalf("record %d is %q", kept, e.Fields)
		}
		usec, _ := e.Get("RECORD_REALTIME_USEC")
		if at, err := strconv.ParseInt(usec, 10, 64); err != nil || at < before || at > after {
			t.Fatalf("RECORD_REALTIME_USEC = %q, want %d to %d", usec, before, after)
		}
		kept++
	}
	if kept+dropped != n || dropped == 0 {
		t.Errorf("%d came, %d counted as dropped, want %d together (%d filled the socket)", kept, dropped, n, filled)
	}
	l.Info("on time")
	if _, ok := entry(t, j).Get("RECORD_REALTIME_USEC"); ok {
		t.Error("a record that did not wait carries a time of its own")
	}
}

// TestJournalFullCostsNoCPU: one attempt a record, no spinning. go-systemd's
// sender burns a whole CPU in the same place.
func TestJournalFullCostsNoCPU(t *testing.T) {
	l, sink, j := fakeJournal(t, Options{})
	if _, err := j.Fill(); err != nil {
		t.Fatal(err)
	}
	l.Info("m")
	conn := sink.out.(*journalConn)
	begin, cpu := time.Now(), cpuTime(t)
	if conn.wait(time.Now().Add(300 * time.Millisecond)) {
		t.Error("a full queue has room")
	}
	if spent, took := cpuTime(t)-cpu, time.Since(begin); spent > took/2 {
		t.Errorf("waiting %v for room took %v of CPU", took, spent)
	}
}

func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

// TestJournalClose waits for a journal that is only slow.
func TestJournalClose(t *testing.T) {
	l, sink, j := fakeJournal(t, Options{})
	if _, err := j.Fill(); err != nil {
		t.Fatal(err)
	}
	l.Info("last words")
	done := make(chan int, 1)
	go func() { done <- sink.Close(patient) }()
	for {
		e := entry(t, j)
		if message(e) == "last words" {
			break
		}
	}
	if n := <-done; n != 0 {
		t.Errorf("Close() = %d", n)
	}
}

// TestJournalMemfd: a record that is too large for the socket goes as a sealed
// memfd (the fake checks the seals), in its turn when the queue is full.
func TestJournalMemfd(t *testing.T) {
	l, sink, j := fakeJournal(t, Options{})
	// A small send buffer stands for a system with small net.core.wmem_default.
	if err := unix.SetsockoptInt(sink.out.(*journalConn).fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4096); err != nil {
		t.Fatal(err)
	}
	big := strings.Repeat("x", 30<<10)
	fds := openFDs(t)
	l.Info("small")
	l.Info("large", "k", big)
	if e := entry(t, j); e.Memfd || message(e) != "small" {
		t.Errorf("first came %q", message(e))
	}
	e := entry(t, j)
	if v, _ := e.Get("K"); !e.Memfd || v != big {
		t.Errorf("memfd %v, %d bytes of %d", e.Memfd, len(v), len(big))
	}

	if _, err := j.Fill(); err != nil {
		t.Fatal(err)
	}
	l.Info("large", "k", big)
	if n := sink.Flush(); n != 1 {
		t.Errorf("%d wait, want the large one", n)
	}
	entries(t, j)
	sink.Flush()
	if e := entry(t, j); !e.Memfd {
		t.Error("the large record came as a datagram")
	}
	if n := openFDs(t); n != fds {
		t.Errorf("%d descriptors are open, %d before", n, fds)
	}
}

func openFDs(t *testing.T) int {
	t.Helper()
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(dir)
}

// TestJournalReplaced: records wait while systemd-journald.socket is
// restarted, and go to the new one.
func TestJournalReplaced(t *testing.T) {
	l, sink, j := fakeJournal(t, Options{})
	l.Info("before")
	entry(t, j)
	j.Close()
	os.Remove(j.Path)
	l.Info("nobody there")
	if n := sink.Flush(); n != 1 {
		t.Errorf("%d wait, want 1", n)
	}
	j2, err := sdtest.ListenJournal(j.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer j2.Close()
	l.Info("after")
	if a, b := message(entry(t, j2)), message(entry(t, j2)); a != "nobody there" || b != "after" {
		t.Errorf("the new journal got %q, %q", a, b)
	}
	j2.Close()
	os.Remove(j.Path)
	l.Info("lost")
	begin := time.Now()
	if n := sink.Close(patient); n != 1 || time.Since(begin) > patient/2 {
		t.Errorf("Close() = %d after %v: nobody is there to wait for", n, time.Since(begin))
	}
}

// TestJournalConcurrent: records of several goroutines come whole and once,
// and each goroutine's in order.
func TestJournalConcurrent(t *testing.T) {
	l, sink, j := fakeJournal(t, Options{})
	const writers, each = 4, 200
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			l := l.With("w", w)
			for i := range each {
				l.Info("m", "i", i)
			}
		})
	}
	finished := make(chan struct{})
	go func() {
		wg.Wait()
		close(finished)
	}()
	var next [writers]int
	for total := 0; total < writers*each; {
		sink.Flush()
		e, err := j.Recv(10 * time.Millisecond)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		w, _ := e.Get("W")
		i, _ := e.Get("I")
		n, err := strconv.Atoi(w)
		if err != nil || n >= writers || i != strconv.Itoa(next[n]) {
			t.Fatalf("got %q, want i=%d", e.Fields, next)
		}
		next[n]++
		total++
	}
	<-finished
}
